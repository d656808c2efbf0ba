"""From a layer to its config in Keras's form, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penalize.layers.described import CONFIGS, layer_from
from penalize.layers.layer import Layer
from penalize.registry import custom_object_scope

__all__ = ["deserialize", "serialize"]


def serialize(layer: Layer) -> dict[str, Any]:
    """The config of a layer, which `deserialize`, and Keras, make an equal layer of; without its weights.

    Raises ConfigError for what could not be read back, such as functions and classes that are not registered.
    Source: Keras 3.15.1, whose form it is.

    >>> import penalize
    >>> config = serialize(penalize.layers.Dense(3, "relu"))
    >>> config["class_name"], config["config"]["units"], config["config"]["activation"]
    ('Dense', 3, 'relu')
    """
    return CONFIGS.write(layer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A new layer from what `serialize` gave, or from Keras's config of the same layer.

    Nothing is imported: a config chooses among the built-ins, what is registered, and `custom_objects`.

    Raises UnknownNameError for an unknown class, ConfigError and ArgumentError for a config that does not fit.
    """
    with custom_object_scope(custom_objects):
        return layer_from(config)
