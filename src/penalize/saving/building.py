"""A model built from a stranger's config, within the sizes that its weights in the file allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from penalize.configs import printable, readable
from penalize.errors import ConfigError, PenalizeError
from penalize.layers.creation import at_most
from penalize.layers.described import layer_from
from penalize.layers.layer import Layer
from penalize.layers.symbolic import trial
from penalize.registry import is_built_in_name

__all__ = ["build_for", "dry_run"]

KINDS = ("layer", "regularizer", "initializer", "constraint", "activation", "optimizer", "loss", "metric")
OTHER_CLASSES = ("DTypePolicy", "function", "__keras_tensor__", "__slice__", "__ellipsis__", "l1_l2", "l1l2")


def dry_run(config: Mapping[str, Any], values: int) -> None:
    """Build the model without memory, to see that its shapes fit together; not for classes of the user's own.

    Theirs may look at values, which tensors without memory have none of.
    """
    if _only_built_ins({key: item for key, item in config.items() if key != "compile_config"}):
        with torch.device("meta"):
            _built(config, values)


def build_for(config: Mapping[str, Any], values: int) -> Any:
    """The model of a config, its weights not filled yet; they hold at most `values` together.

    Raises ConfigError for what is no model, or could not be built.
    """
    return _built(config, values)


def _built(config: Mapping[str, Any], values: int) -> Any:
    try:
        with readable(), at_most(values, filled=True):
            model = layer_from(config)
            if not isinstance(model, Layer) or not hasattr(model, "compile_from_config"):
                raise ConfigError(f"it describes a {type(model).__name__}, which is no Model")
            _build(model, config.get("build_config"))
    except PenalizeError:
        raise
    except Exception as error:
        raise ConfigError(f"the model cannot be built: {printable(str(error), 300)}") from error
    return model


@torch.no_grad()
def _build(model: Any, build_config: Any) -> None:
    """Call a subclass on zeros of the shape that it was built for, where layers in it are not built yet."""
    if all(layer.built for layer in model.modules() if isinstance(layer, Layer)):
        return
    shape = build_config.get("input_shape") if isinstance(build_config, Mapping) else None
    if shape is None:
        return
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with trial():
            model(_zeros(shape))
    finally:
        for module, mode in modes.items():
            module.training = mode
    for layer in model.modules():
        if isinstance(layer, Layer):
            layer.declarations.record.clear()
            layer.declarations.added.clear()


def _zeros(shape: Any) -> Any:
    if isinstance(shape, Mapping):
        return {key: _zeros(item) for key, item in shape.items()}
    if not isinstance(shape, list) or not shape:
        raise ConfigError(f"build_config: an input_shape is a list of sizes, got {shape!r:.80}")
    if all(size is None or type(size) is int for size in shape):
        if any(size is not None and not 0 <= size < 2**31 for size in shape):
            raise ConfigError(f"build_config: an input_shape has sizes from 0 on, got {shape!r:.80}")
        return torch.zeros([2 if axis == 0 else size or 1 for axis, size in enumerate(shape)])
    return [_zeros(item) for item in shape]


def _only_built_ins(config: Any) -> bool:
    if isinstance(config, list):
        return all(_only_built_ins(item) for item in config)
    if not isinstance(config, Mapping):
        return True
    name = config.get("class_name")
    of_operator = config.get("module") == "keras.src.ops.numpy"
    known = True
    if isinstance(name, str) and not of_operator and name not in OTHER_CLASSES:
        known = any(is_built_in_name(kind, name) for kind in KINDS)
    return known and all(_only_built_ins(item) for item in config.values())
