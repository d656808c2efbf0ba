"""Print all benchmarks."""

import torch

from benchmarks import compacting, comparison, fit, gradients, imports, keras_steps, memory, paths, saving, steps, zeros

print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; ratios are medians of turns in this run")
steps.main()
keras_steps.main()
fit.main()
gradients.main()
imports.main()
memory.main()
paths.main()
comparison.main()
saving.main()
compacting.main()
zeros.main()
