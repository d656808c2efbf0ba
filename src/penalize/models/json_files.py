"""A model from JSON text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penalize.arguments import integer
from penalize.errors import ConfigError, naming
from penalize.layers.creation import MOST_VALUES, at_most
from penalize.layers.described import layer_from
from penalize.models.model import Model
from penalize.registry import custom_object_scope
from penalize.strict_json import parse

__all__ = ["model_from_json"]


def model_from_json(
    json_string: str, custom_objects: Mapping[str, Any] | None = None, *, most_values: int = MOST_VALUES
) -> Model:
    """The model that `to_json` described, or Keras's `to_json`, with fresh weights; it is not compiled.

    Nothing is imported: classes are chosen among the built-ins, what is registered, and `custom_objects`. A model whose
    weights would hold more than `most_values` together is refused before it takes memory.

    Raises ConfigError, UnknownNameError or ArgumentError for a text or config that does not fit.
    Source: Keras 3.15.1, `keras.models.model_from_json`.

    >>> import penalize
    >>> model = penalize.Sequential([penalize.Input((3,)), penalize.layers.Dense(2, kernel_regularizer="l2")])
    >>> model_from_json(model.to_json()).layers[0].kernel_regularizer
    L2(l2=0.01)
    """
    most = integer("most_values", most_values)
    config = parse(json_string, "the JSON of a model")
    with naming("the JSON of a model"), custom_object_scope(custom_objects), at_most(most):
        model = layer_from(config)
    if not isinstance(model, Model):
        raise ConfigError(f"the JSON of a model: it describes a {type(model).__name__}, which is no Model")
    return model
