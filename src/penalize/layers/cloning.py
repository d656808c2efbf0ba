"""A layer made anew from the arguments that describe it, with weights of its own."""

from __future__ import annotations

import copy
import inspect
from typing import Any

from torch import nn

from penalize.errors import ArgumentError
from penalize.layers.layer import Layer

__all__ = ["arguments_of", "fresh_copy"]

# What a Sequential learns from its first layer, and knows itself from then on.
OF_A_FIRST_LAYER = ("input_shape", "input_dim")
OF_EVERY_LAYER = ("activity_regularizer", "mask_activity", "trainable", "dtype", "autocast", "name")


def arguments_of(layer: Layer) -> dict[str, Any]:
    """The constructor's arguments as they are now: each is an attribute of the same name.

    Raises ArgumentError for a layer that does not keep one of its arguments.

    >>> import penalize
    >>> arguments_of(penalize.layers.Dense(3, "relu"))["units"]
    3
    """
    parameters = inspect.signature(type(layer)).parameters.values()
    own = [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    further = OF_EVERY_LAYER if any(p.kind is p.VAR_KEYWORD for p in parameters) else ()
    arguments = {}
    for name in dict.fromkeys([*own, *layer.further_arguments, *further]):
        if name in layer.left_out_arguments or (name in OF_A_FIRST_LAYER and not hasattr(layer, name)):
            continue
        attribute = "dtype_policy" if name == "dtype" else name
        if not hasattr(layer, attribute):
            raise ArgumentError(
                f"{layer.name}: cannot be made anew: {type(layer).__name__} does not keep its argument {name!r} as an "
                "attribute of that name"
            )
        arguments[name] = getattr(layer, attribute)
    return arguments


def fresh_copy(layer: Any, **changes: Any) -> Any:
    """A layer of the same class and arguments that is not built yet; `changes` replace some of the arguments.

    Regularizers and layers among the arguments are copies, too. Other modules are copied with their weights.
    """
    if isinstance(layer, Layer):
        arguments = {name: _copied(value) for name, value in {**arguments_of(layer), **changes}.items()}
        return type(layer)(**arguments)
    return copy.deepcopy(layer)


def _copied(value: Any) -> Any:
    if isinstance(value, nn.ModuleList | list | tuple) and all(isinstance(item, nn.Module) for item in value):
        return [fresh_copy(item) for item in value]
    return fresh_copy(value) if isinstance(value, Layer) else copy.deepcopy(value)
