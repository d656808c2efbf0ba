"""Training many models at once: jobs, chunks of them, stacks, and what they reach."""
