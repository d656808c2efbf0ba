"""The small network of the command line, and where its penalties go."""

from __future__ import annotations

import itertools

from torch import nn

from penalize.errors import ArgumentError, nearest
from penalize.placement import Rules
from penalize.regularizers import L1, L1L2, L2, GroupLasso, OrthogonalRegularizer

__all__ = ["PENALTIES", "PLACES", "hidden_sizes", "multilayer_perceptron", "rules"]

# Each with strengths of one, which the grid multiplies; "l1_l2" has both strengths equal.
PENALTIES = {
    "l1": L1(1.0),
    "l2": L2(1.0),
    "l1_l2": L1L2(1.0, 1.0),
    "group_lasso": GroupLasso(1.0, axis=0),
    "orthogonal_regularizer": OrthogonalRegularizer(1.0),
}
PLACES = ("kernel", "bias", "activity")


def multilayer_perceptron(inputs: int, hidden: list[int], outputs: int) -> nn.Sequential:
    """Linear layers with ReLU between them; regularizers see torch's weights (out, in), whose rows are units."""
    sizes = [inputs, *hidden]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))


def hidden_sizes(text: str) -> list[int]:
    """The sizes of hidden layers from "64,64"; an empty text is none."""
    try:
        sizes = [int(part) for part in text.split(",")] if text.strip() else []
    except ValueError:
        sizes = [0]
    if any(size < 1 for size in sizes):
        raise ArgumentError(f"hidden must be positive integers with commas between, such as 64,64, got {text!r}")
    return sizes


def rules(penalty: str, on: str, hidden: list[int]) -> tuple[Rules, Rules]:
    """The `weights` and `activity` of `attach` for a penalty on all kernels, all biases, or all hidden activity."""
    if penalty not in PENALTIES:
        hint = nearest(penalty, PENALTIES)
        raise ArgumentError(f"penalty must be one of {', '.join(PENALTIES)}, got {penalty!r}: {hint}")
    if on not in PLACES:
        raise ArgumentError(f"on must be one of {', '.join(PLACES)}, got {on!r}: {nearest(on, PLACES)}")
    if on == "bias" and penalty == "orthogonal_regularizer":
        raise ArgumentError("penalty orthogonal_regularizer needs a matrix, but on bias there are only vectors")
    if on != "kernel" and penalty == "group_lasso":
        raise ArgumentError(f"penalty group_lasso is of units, the rows of kernels: it needs on kernel, got {on!r}")
    if on == "activity" and not hidden:
        raise ArgumentError("on activity needs at least one hidden layer, got hidden ''")
    if on == "activity":
        return {}, {nn.ReLU: PENALTIES[penalty]}
    return {"*.weight" if on == "kernel" else "*.bias": PENALTIES[penalty]}, {}
