"""A layer made anew from the arguments that describe it, with weights of its own."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from penalize.layers.described import arguments_of
from penalize.layers.layer import Layer

__all__ = ["fresh_copy"]


def fresh_copy(layer: Any, **changes: Any) -> Any:
    """A layer of the same class and arguments that is not built yet; `changes` replace some of the arguments.

    Regularizers and layers among the arguments are copies, too. Other modules are copied with their weights.
    """
    if isinstance(layer, Layer):
        arguments = {name: _copied(value) for name, value in {**arguments_of(layer), **changes}.items()}
        made = type(layer)(**arguments)
        # A layer without weights casts its inputs only when it was given a dtype.
        made.dtype_given = layer.dtype_given or "dtype" in changes
        return made
    return copy.deepcopy(layer)


def _copied(value: Any) -> Any:
    if isinstance(value, nn.ModuleList | list | tuple) and all(isinstance(item, nn.Module) for item in value):
        return [fresh_copy(item) for item in value]
    return fresh_copy(value) if isinstance(value, Layer) else copy.deepcopy(value)
