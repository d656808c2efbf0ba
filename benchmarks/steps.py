"""A training step with penalties over one without: bound, in the loss, and the sum that one would write by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import nn

import penalize
from benchmarks.timing import by_turns, print_ratios
from penalize.regularizers import L1, L1L2, L2

KERNELS, BIASES, ACTIVITY = L1L2(1e-5, 1e-4), L2(1e-4), L1(1e-6)
MODES = (
    "none",
    "bind()",
    "bind(proximal=True)",
    "loss()",
    "by hand",
    "bind() + activity",
    "loss() + activity",
    "by hand + activity",
)


def mlp(*sizes: int) -> nn.Module:
    """Linear layers with ReLU between them."""
    parts: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        parts += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def small_mlp() -> tuple[nn.Module, torch.Tensor]:
    return mlp(64, 64, 64, 10), torch.randn(32, 64)


def middle_mlp() -> tuple[nn.Module, torch.Tensor]:
    return mlp(784, 512, 512, 10), torch.randn(128, 784)


def cnn() -> tuple[nn.Module, torch.Tensor]:
    """For 8x8 digits."""
    convolutions = [nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*convolutions, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1024, 10)), torch.randn(64, 1, 8, 8)


class Encoder(nn.Module):
    """Six layers of a transformer, 128 wide, on sequences of 32; the mean over time is classified."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(128, 4, 256, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.head = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.encoder(x).mean(1))
        return result


def encoder() -> tuple[nn.Module, torch.Tensor]:
    return Encoder(), torch.randn(16, 32, 128)


def step(mode: str, make: Callable[[], tuple[nn.Module, torch.Tensor]]) -> Callable[[], None]:
    """One step of fused Adam: penalties on all kernels and biases, with "activity" on the outputs of all ReLUs, too."""
    torch.manual_seed(0)
    model, x = make()
    y = torch.randint(0, 10, (len(x),))
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    kind, _, activity = mode.partition(" + ")
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    penalized = [module for module in model.modules() if isinstance(module, nn.ReLU | nn.TransformerEncoderLayer)]
    penalties = None
    outputs: list[torch.Tensor] = []
    if kind in ("bind()", "bind(proximal=True)", "loss()"):
        penalties = penalize.attach(
            model,
            weights={lambda name, p: p.ndim > 1: KERNELS, lambda name, p: p.ndim == 1: BIASES},
            activity={(lambda name, module: module in penalized): ACTIVITY} if activity else None,
        )
        if kind != "loss()":
            penalties.bind(optimizer, proximal=kind == "bind(proximal=True)")
    elif activity:
        for module in penalized:
            module.register_forward_hook(lambda module, args, output: outputs.append(output))

    def run() -> None:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        if penalties is not None and (kind == "loss()" or activity):
            loss = loss + penalties.loss()
        elif kind == "by hand":
            for weight in matrices:
                loss = loss + 1e-5 * weight.abs().sum() + 1e-4 * weight.square().sum()
            for weight in vectors:
                loss = loss + 1e-4 * weight.square().sum()
            for output in outputs:
                loss = loss + 1e-6 * output.abs().sum() / len(output)
            outputs.clear()
        loss.backward()
        optimizer.step()

    return run


# Short turns, and many of them, so that a slow moment of the machine hits all ways alike.
TURNS = 41
MODELS = {
    "small MLP 64-64-64-10, batch 32": (small_mlp, 50),
    "middle MLP 784-512-512-10, batch 128": (middle_mlp, 6),
    "CNN on 8x8 digits, batch 64": (cnn, 6),
    "transformer encoder, 6 layers of 128, batch 16x32": (encoder, 2),
}


def main() -> None:
    """Print a table for each model."""
    for name, (make, inner) in MODELS.items():
        ways = {mode: step(mode, make) for mode in MODES}
        print_ratios(f"{name}: L1L2 on kernels, L2 on vectors", by_turns(ways, TURNS, inner), "none")
