"""A training step with penalties over one without: loss mode, bound mode, and the hand-written sum."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import nn

import penalize
from benchmarks.timing import by_turns, print_ratios
from penalize.regularizers import L1L2, L2

RULES = {"*.weight": L1L2(1e-5, 1e-4), "*.bias": L2(1e-4)}


def step(mode: str, sizes: tuple[int, ...], batch: int) -> Callable[[], None]:
    """One step of Adam on an MLP: penalties added to the loss, bound, written by hand, or none."""
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        parts += [nn.Linear(before, after), nn.ReLU()]
    model = nn.Sequential(*parts[:-1])
    x, y = torch.randn(batch, sizes[0]), torch.randint(0, sizes[-1], (batch,))
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    penalties = penalize.attach(model, weights=RULES) if mode in ("loss()", "bind()") else None
    if penalties is not None and mode == "bind()":
        penalties.bind(optimizer)
    layers = [module for module in model if isinstance(module, nn.Linear)]

    def run() -> None:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        if mode == "loss()":
            assert penalties is not None
            loss = loss + penalties.loss()
        elif mode == "by hand":
            for layer in layers:
                loss = loss + 1e-5 * layer.weight.abs().sum() + 1e-4 * layer.weight.square().sum()
                loss = loss + 1e-4 * layer.bias.square().sum()
        loss.backward()
        optimizer.step()

    return run


def main() -> None:
    """Print the tables of both MLPs."""
    for name, sizes, batch, inner in (
        ("small MLP 64-64-64-10, batch 32", (64, 64, 64, 10), 32, 200),
        ("middle MLP 784-512-512-10, batch 128", (784, 512, 512, 10), 128, 20),
    ):
        ways = {mode: step(mode, sizes, batch) for mode in ("none", "bind()", "loss()", "by hand")}
        print_ratios(f"{name}: L1L2 on kernels, L2 on biases", by_turns(ways, 15, inner), "none")
