"""A network and a padded convolutional one, made sparse by a group lasso on digits, before and after `compact`.

The zeros are made by proximal gradient: after each step of SGD with momentum m, the weights of a unit shrink together
towards zero by `strength * learning rate / (1 - m)`, and those within that distance become zero. The bias of a channel
is one of them, as a constant other than 0 could not be folded before padding; that of a linear unit is not.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
from rich.console import Console
from sklearn.datasets import load_digits
from torch import nn

import penalize
from benchmarks.timing import by_turns, print_ratios

LEARNING_RATE, MOMENTUM, BATCH, EPOCHS = 0.02, 0.9, 64, 40


def perceptron() -> nn.Sequential:
    """64-512-512-10."""
    return nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))


def convolutional() -> nn.Sequential:
    """Two padded convolutions, a pooling and two linear layers."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * 16, 128), nn.ReLU(), nn.Linear(128, 10)),
    )


@torch.no_grad()
def shrink(layer: nn.Linear | nn.Conv2d, distance: float) -> None:
    """The proximal step of the group lasso: each unit's weights move towards zero by this distance."""
    units = layer.weight.flatten(1)
    with_bias = isinstance(layer, nn.Conv2d) and layer.bias is not None
    if with_bias:
        units = torch.cat([units, layer.bias[:, None]], 1)
    factor = (1 - distance / units.norm(dim=1).clamp(min=1e-12)).clamp(min=0)
    layer.weight.mul_(factor.reshape(-1, *(1,) * (layer.weight.ndim - 1)))
    if with_bias:
        layer.bias.mul_(factor)


def train(model: nn.Sequential, x: torch.Tensor, y: torch.Tensor, strength: float) -> None:
    """Train with a group lasso on the units of all layers but the last."""
    layers = [module for module in model if isinstance(module, nn.Linear | nn.Conv2d)]
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):
            training_step(model, optimizer, x[rows], y[rows])
            for layer in layers[:-1]:
                shrink(layer, strength * LEARNING_RATE / (1 - MOMENTUM))


def training_step(model: nn.Sequential, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> None:
    """One step of the optimizer."""
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()


def stepping(model: nn.Sequential, x: torch.Tensor, y: torch.Tensor) -> Callable[[], None]:
    """A step to be timed, at a learning rate of 0, so that the weights stay."""
    return partial(training_step, model, torch.optim.SGD(model.parameters(), lr=0.0), x, y)


@torch.no_grad()
def predict(model: nn.Sequential, x: torch.Tensor) -> None:
    """One call, to be timed."""
    model(x)


def measure(name: str, model: nn.Sequential, strength: float) -> None:
    """Train, compact, and print the report, accuracies, outputs and times."""
    features, labels = load_digits(return_X_y=True)
    x, y = torch.from_numpy(features).float() / 16, torch.from_numpy(labels)
    order = torch.randperm(len(x))
    seen, held_out = order[:1400], order[1400:]
    dense = copy.deepcopy(model)
    train(dense, x[seen], y[seen], 0.0)
    train(model, x[seen], y[seen], strength)
    small, report = penalize.compact(model, x[seen[:BATCH]])
    with torch.no_grad():
        outputs = [each(x[held_out]) for each in (dense, model, small)]
    accuracies = [float((each.argmax(1) == y[held_out]).float().mean()) for each in outputs]
    difference = float((outputs[2] - outputs[1]).abs().max() / outputs[1].abs().max())
    lines = (
        f"\n{name}, group lasso of strength {strength}",
        repr(report),
        f"accuracy on {len(held_out)} others: {accuracies[1]:.4f}, compacted {accuracies[2]:.4f}; "
        f"trained without a penalty {accuracies[0]:.4f}",
        f"float32 outputs there: at most {difference:.1e} of the largest one apart",
    )
    Console(soft_wrap=True, highlight=False).print(*lines, sep="\n")
    batch, targets = x[seen[:BATCH]], y[seen[:BATCH]]
    models = {"before": model, "compacted": small}
    calls = {which: partial(predict, each, batch) for which, each in models.items()}
    steps = {which: stepping(each, batch, targets) for which, each in models.items()}
    print_ratios(f"{name}: a call without gradients, batch {BATCH}", by_turns(calls, 15, 20), "before")
    print_ratios(f"{name}: a step of SGD, batch {BATCH}", by_turns(steps, 15, 10), "before")


def main() -> None:
    """Print what `compact` makes of both networks."""
    torch.manual_seed(0)
    measure("MLP 64-512-512-10", perceptron(), 1e-2)
    measure("padded CNN", convolutional(), 1e-2)


if __name__ == "__main__":
    main()
