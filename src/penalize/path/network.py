"""The small network of the command line, and where its penalties go."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from penalize.errors import ArgumentError, nearest
from penalize.placement import Rules
from penalize.regularizers import (
    L1,
    L1L2,
    L2,
    Decorrelation,
    GroupLasso,
    HoyerSquare,
    LInf,
    NuclearNorm,
    OrthogonalRegularizer,
    Regularizer,
    SparseGroupLasso,
    SpectralNorm,
)

__all__ = ["PENALTIES", "PLACES", "hidden_sizes", "multilayer_perceptron", "rules"]

# Each with strengths of one, which the grid multiplies; "l1_l2" has both strengths equal. Only those that are
# proportional to their strength are here: MCP and SCAD change their form with it.
PENALTIES: dict[str, Regularizer] = {
    "l1": L1(1.0),
    "l2": L2(1.0),
    "l1_l2": L1L2(1.0, 1.0),
    "group_lasso": GroupLasso(1.0, axis=0),
    "sparse_group_lasso": SparseGroupLasso(1.0, axis=0),
    "linf": LInf(1.0, axis=0),
    "hoyer_square": HoyerSquare(1.0),
    "nuclear_norm": NuclearNorm(1.0),
    "spectral_norm": SpectralNorm(1.0),
    "orthogonal_regularizer": OrthogonalRegularizer(1.0),
    "decorrelation": Decorrelation(1.0),
}
OF_MATRICES = ("nuclear_norm", "spectral_norm", "orthogonal_regularizer")
# Of the weights of the first layer, (out, in), these take an input for a group; others take a unit, the rows.
OF_FEATURES = {
    "group_lasso": GroupLasso(1.0, axis=1),
    "sparse_group_lasso": SparseGroupLasso(1.0, axis=1),
    "linf": LInf(1.0, axis=1),
}
PLACES = ("kernel", "bias", "activity", "features")
ACTIVATIONS = nn.ReLU.__module__


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


def rules(penalty: str, on: str, hidden: list[int], model: nn.Module | None = None) -> tuple[Rules, Rules]:
    """The `weights` and `activity` of `attach` for a penalty on a place of the network with these hidden layers.

    `on` is kernel (all weights of two or more axes), bias (the parameters of that name), activity (what activations
    give), features (the weights of the first layer, those of an input being a group), or a pattern of names of weights,
    such as "0.weight" or "encoder.*". With `model` the place is one of it.
    """
    if penalty not in PENALTIES:
        hint = nearest(penalty, PENALTIES)
        raise ArgumentError(f"penalty must be one of {', '.join(PENALTIES)}, got {penalty!r}: {hint}")
    pattern = any(sign in on for sign in ".*?[")
    if on not in PLACES and not pattern:
        listed = ", ".join(PLACES)
        raise ArgumentError(f"on must be one of {listed}, or a pattern of weights, got {on!r}: {nearest(on, PLACES)}")
    regularizer = PENALTIES[penalty]
    if on == "bias" and penalty in OF_MATRICES:
        raise ArgumentError(f"penalty {penalty} needs a matrix, but on bias there are only vectors")
    if on != "activity" and penalty == "decorrelation":
        raise ArgumentError(f"penalty decorrelation is of outputs: it needs on activity, got {on!r}")
    if on in ("bias", "activity") and penalty in OF_FEATURES:
        raise ArgumentError(f"penalty {penalty} is of units, the rows of kernels: it needs on kernel, got {on!r}")
    if on == "activity":
        kinds = {nn.ReLU} if model is None else {type(m) for m in model.modules() if type(m).__module__ == ACTIVATIONS}
        if not kinds or (model is None and not hidden):
            why = "hidden ''" if model is None else "a model without such modules"
            raise ArgumentError(f"on activity needs at least one hidden layer with an activation, got {why}")
        return {}, dict.fromkeys(kinds, regularizer)
    if on == "bias":
        return {_is_bias: regularizer}, {}
    if on == "features":
        kernels = ["0.weight"] if model is None else [n for n, w in model.named_parameters() if _is_kernel(n, w)]
        if not kernels:
            raise ArgumentError("on features needs a weight of two axes, but the model has none")
        return {kernels[0]: OF_FEATURES.get(penalty, regularizer)}, {}
    return {on if pattern else _is_kernel: regularizer}, {}


def _is_kernel(name: str, weight: torch.Tensor) -> bool:
    return weight.ndim > 1


def _is_bias(name: str, weight: torch.Tensor) -> bool:
    return name.rpartition(".")[2] == "bias"
