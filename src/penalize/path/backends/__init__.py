"""Where chunks are trained, and where what is finished is kept."""
