"""A model-step of a stacked path beside one of a plain loop over one model at a time."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import nn

import penalize
from benchmarks.timing import by_turns, print_ratios
from penalize.path.folds import make_folds
from penalize.path.network import multilayer_perceptron
from penalize.path.stacked import StackedModels, train_stack
from penalize.regularizers import L2

MODELS = 32


def main() -> None:
    """Print the time of one epoch of 32 strengths on digits, 64-64-64-10, batch 32, in both ways."""
    x, y = load_digits(return_X_y=True)
    data = make_folds(x, y, "classification", 5, 0, torch.float32)
    base = multilayer_perceptron(64, [64, 64], 10)
    penalize.attach(base, weights={"*.weight": L2(1.0)})
    strengths = torch.logspace(-6, 0, MODELS)
    stack = StackedModels(base, strengths, torch.zeros(MODELS, dtype=torch.long), "classification")

    def stacked() -> None:
        train_stack(stack, data, epochs=1, batch_size=32, learning_rate=1e-3, advance=lambda: None)

    alone = multilayer_perceptron(64, [64, 64], 10)
    kernels = [module.weight for module in alone if isinstance(module, nn.Linear)]
    optimizer = torch.optim.Adam(alone.parameters(), fused=True)

    def plain() -> None:
        for strength in strengths.tolist():
            for rows in torch.split(data.epoch_rows(0)[0], 32):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(alone(data.x[0, rows]), data.y[0, rows])
                (loss + strength * sum(kernel.square().sum() for kernel in kernels)).backward()
                optimizer.step()

    times = by_turns({"plain loop": plain, "stacked": stacked}, 5, 1)
    steps = MODELS * len(torch.split(data.epoch_rows(0)[0], 32))
    each = {name: [second / steps for second in seconds] for name, seconds in times.items()}
    print_ratios("a model and step of a path, 32 strengths on digits, L2 on kernels", each, "plain loop")
