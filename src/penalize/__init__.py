"""Keras' layer regularizers for PyTorch, penalties on any `nn.Module`, and whole regularization paths at once.

`import penalize as keras` is the one line that a Keras example changes; `penalize.attach` puts the same penalties on
any PyTorch model; `penalize.path` trains one model for each of many strengths, all at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

from penalize import errors, regularizers
from penalize.binding import Penalties, attach, attached
from penalize.regularizers import Regularizer

if TYPE_CHECKING:
    from penalize import (
        activations,
        config,
        constraints,
        initializers,
        layers,
        losses,
        metrics,
        mixed_precision,
        models,
        ops,
        optimizers,
        path,
        saving,
    )
    from penalize.compacting import compact
    from penalize.layers import Input, Layer
    from penalize.models import Model, Sequential
    from penalize.polishing import polish

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
    "compact",
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
    "polish",
    "regularizers",
    "saving",
]

# Rooms that a program does not use are not imported: `import penalize` costs little beside `import torch`.
_PLACES = {
    "Input": "layers",
    "Layer": "layers",
    "Model": "models",
    "Sequential": "models",
    "compact": "compacting",
    "polish": "polishing",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'penalize' has no attribute {name!r}")
    room = importlib.import_module(f"penalize.{_PLACES.get(name, name)}")
    return getattr(room, name) if name in _PLACES else room


def __dir__() -> list[str]:
    return [*globals(), *__all__]
