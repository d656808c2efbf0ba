"""What describes a layer: its constructor's arguments as they are now, and Keras's config of them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Mapping
from types import ModuleType
from typing import Any

import numpy as np
from torch import nn

from penalize import activations, constraints, initializers, regularizers
from penalize.configs import Configs, readable
from penalize.errors import ArgumentError, ConfigError, naming
from penalize.layers.creation import MOST_OUTPUT, MOST_RANK, MOST_VALUES, at_most
from penalize.layers.dtypes import DTypePolicy
from penalize.layers.weighted import Weighted

__all__ = ["CONFIGS", "arguments_of", "arguments_from", "config_of", "entry_of", "layer_from", "whole_entry_of"]

CONFIGS = Configs("layer", "a layer", Weighted)

# Which room writes and reads an argument, by the end of its name.
ROOMS: dict[str, ModuleType] = {
    "_initializer": initializers,
    "_regularizer": regularizers,
    "_constraint": constraints,
    "activation": activations,
}
# Arguments that Keras does not have, in every layer or in its older versions: written only where they say something.
SILENT_WHEN: dict[str, Any] = {
    "mask_activity": False,
    "autocast": True,
    "activity_regularizer": None,
    "use_cudnn": "auto",
    "use_gate": False,
    "sliding_window": None,
}
# Keys that Keras writes for what is not here, and what they must say.
NOT_HERE: dict[str, dict[str, tuple[Any, ...]]] = {
    "LayerNormalization": {"rms_scaling": (False,)},
    "InputLayer": {"sparse": (False,), "ragged": (False,), "optional": (False,)},
}
# Arguments that are layers, or lists of layers.
LAYERS = ("layer", "backward_layer", "cell", "cells")

# A layer's name and its arguments' names, which errors show.
MOST_LETTERS = 255
MOST_SIZE = 2**31 - 1
# Arguments that are integers, and count nothing.
NO_SIZES = ("seed", "scale", "offset", "mask_value", "value", "max_value", "threshold")

# What a Sequential learns from its first layer, and knows itself from then on.
OF_A_FIRST_LAYER = ("input_shape", "input_dim")
OF_EVERY_LAYER = ("activity_regularizer", "mask_activity", "trainable", "dtype", "autocast", "name")


def arguments_of(layer: Any) -> dict[str, Any]:
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


def config_of(layer: Any, without: Collection[str] = ()) -> dict[str, Any]:
    """The config of a layer in Keras's form, of plain numbers, strings, lists and dicts; `without` some arguments.

    Raises ConfigError, by the name of the argument, for what could not be read back: functions and classes that are not
    registered, modules, tensors.
    """
    given = {name: value for name, value in arguments_of(layer).items() if name not in without}
    config: dict[str, Any] = {key: given[key] for key in ("name", "trainable", "dtype") if key in given}
    for argument, value in given.items():
        with naming(f"{layer.name}: {argument}"):
            config[argument] = _written(argument, value)
    return {key: value for key, value in config.items() if key not in SILENT_WHEN or value != SILENT_WHEN[key]}


def entry_of(layer: Any) -> dict[str, Any]:
    """The config of a layer with its class, and the shape of the inputs that it was built for."""
    entry = CONFIGS.write(layer)
    shape = layer.shape_in_files()
    if shape is not None:
        entry["build_config"] = {"input_shape": _open_batch(shape)}
    return entry


def whole_entry_of(model: Any) -> dict[str, Any]:
    """`entry_of` a model that is written alone.

    Raises ConfigError for a layer with weights that stands in two of the models or wrappers that the config is of: two
    layers would come back.
    """
    holders: dict[int, Any] = {}
    waiting = [model]
    while waiting:
        holder = waiting.pop()
        for layer in {id(part): part for part in _layers_described_in(holder) if part.state_dict()}.values():
            if id(layer) in holders:
                raise ConfigError(
                    f"{model.name}: {layer.name} stands in {holders[id(layer)].name} and in {holder.name}: two layers "
                    "would come back from a config; save_weights keeps the weights"
                )
            holders[id(layer)] = holder
            waiting.append(layer)
    return entry_of(model)


def _layers_described_in(holder: Any) -> list[Any]:
    if hasattr(holder, "layers_in_config"):
        found = holder.layers_in_config()
    else:
        held = [getattr(holder, name, None) for name in LAYERS]
        found = [part for item in held for part in (item if isinstance(item, nn.ModuleList) else [item])]
    return [part for part in found if isinstance(part, Weighted)]


def _open_batch(shape: Any) -> Any:
    """Shapes as lists, without the size of the batch."""
    if isinstance(shape, Mapping):
        return {key: _open_batch(item) for key, item in shape.items()}
    if all(size is None or isinstance(size, int) for size in shape):
        return [None, *shape[1:]] if len(shape) else []
    return [_open_batch(item) for item in shape]


def arguments_from(config: Mapping[str, Any]) -> dict[str, Any]:
    """The constructor's arguments from a config, with the layers, regularizers and functions that it describes."""
    return {argument: _read(argument, value) for argument, value in config.items()}


def _written(argument: str, value: Any) -> Any:
    for ending, room in ROOMS.items():
        if argument.endswith(ending):
            return room.serialize(value)
    if isinstance(value, DTypePolicy):
        config = {"name": value.name}
        return {"module": "keras", "class_name": "DTypePolicy", "config": config, "registered_name": None}
    if isinstance(value, Weighted):
        return CONFIGS.write(value)
    if isinstance(value, nn.ModuleList | list | tuple):
        return [_written("", item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(f"{type(value).__name__} cannot be written into a config: {value!r:.80}")


def _read(argument: str, value: Any) -> Any:
    for ending, room in ROOMS.items():
        if isinstance(argument, str) and argument.endswith(ending) and isinstance(value, str | Mapping):
            return room.deserialize(value)
    if argument in LAYERS and isinstance(value, Mapping):
        return layer_from(value)
    if argument in LAYERS and isinstance(value, list):
        return [layer_from(item) if isinstance(item, Mapping) else item for item in value]
    return value


def layer_from(config: Any) -> Any:
    """The layer that a serialized config describes, with weights of its own; models come uncompiled.

    Raises ConfigError also for sizes that no layer has, before they take memory.
    """
    if isinstance(config, Mapping):
        config = {key: value for key, value in config.items() if key != "compile_config"}
    with readable(), at_most(MOST_VALUES):
        chosen, values = CONFIGS.choose(config)
        if values is None:
            raise ConfigError(f"a layer's config is a dict with class_name and config, got {config!r:.80}")
        for key, value in values.items():
            _check_argument(key, value, chosen.__name__)
        return CONFIGS.make(chosen, values, NOT_HERE.get(chosen.__name__, {}))


def _check_argument(key: Any, value: Any, kind: str) -> None:
    """What is wrong with an argument of any layer: names that cannot be shown, and integers that are no sizes."""
    if not isinstance(key, str) or not key.isidentifier() or len(key) > MOST_LETTERS:
        raise ConfigError(f"{kind}: an argument's name is an identifier, got {key!r:.80}")
    if key == "name" and value is not None:
        if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= MOST_LETTERS:
            raise ConfigError(f"{kind}: name must be a string of 1 to {MOST_LETTERS} letters, got {value!r:.80}")
    elif key not in NO_SIZES:
        sizes = list(value) if isinstance(value, list | tuple) else [value]
        if key.endswith("shape") and len(sizes) > MOST_RANK:
            raise ConfigError(f"{kind}: {key}: {MOST_RANK} axes are the most, got {len(sizes)}")
        for size in sizes:
            if type(size) is int and abs(size) > MOST_SIZE:
                raise ConfigError(f"{kind}: {key}: {MOST_SIZE} is the largest size, got {size!r:.80}")
        if key.endswith("shape") and math.prod(size for size in sizes if type(size) is int) > MOST_OUTPUT:
            raise ConfigError(f"{kind}: {key}: {MOST_OUTPUT} values are the most, got {value!r:.80}")
