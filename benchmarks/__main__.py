"""Print all benchmarks, or those that are named: `python -m benchmarks steps fit`."""

import sys

import torch

from benchmarks import compacting, comparison, fit, gradients, imports, keras_steps, memory, paths, saving, steps, zeros

TABLES = {
    module.__name__.rpartition(".")[2]: module.main
    for module in (
        steps,
        keras_steps,
        fit,
        gradients,
        imports,
        memory,
        paths,
        comparison,
        saving,
        compacting,
        zeros,
    )
}

unknown = [name for name in sys.argv[1:] if name not in TABLES]
if unknown:
    sys.exit(f"no benchmark is named {', '.join(unknown)}: choose from {', '.join(TABLES)}")
print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; ratios are medians of turns in this run")
for name in sys.argv[1:] or TABLES:
    TABLES[name]()
