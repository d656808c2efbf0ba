"""Print all benchmarks."""

import torch

from benchmarks import gradients, imports, paths, saving, steps

print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; ratios are medians of turns in this run")
steps.main()
gradients.main()
imports.main()
paths.main()
saving.main()
