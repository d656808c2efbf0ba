"""Keras' layer regularizers for PyTorch, penalties on any `nn.Module`, and whole regularization paths at once.

`import penalize as keras` is the one line that a Keras example changes; `penalize.attach` puts the same penalties on
any PyTorch model; `penalize.path` trains one model for each of many strengths, all at once.
"""

import importlib
from typing import Any

from penalize import (
    activations,
    config,
    constraints,
    errors,
    initializers,
    layers,
    losses,
    metrics,
    mixed_precision,
    models,
    ops,
    optimizers,
    regularizers,
    saving,
)
from penalize.binding import Penalties, attach, attached
from penalize.layers import Input, Layer
from penalize.models import Model, Sequential
from penalize.regularizers import Regularizer

__version__ = "0.1.0"

__all__ = [
    "Input",
    "Layer",
    "Model",
    "Penalties",
    "Regularizer",
    "Sequential",
    "activations",
    "attach",
    "attached",
    "config",
    "constraints",
    "errors",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "ops",
    "optimizers",
    "path",
    "regularizers",
    "saving",
]


def __getattr__(name: str) -> Any:
    # What needs the libraries of an extra is imported when it is first used.
    if name == "path":
        return importlib.import_module("penalize.path")
    raise AttributeError(f"module 'penalize' has no attribute {name!r}")
