"""From an identifier (a name, class, instance, config, function or torch module) to a loss, and back to a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from penalize.configs import Configs
from penalize.errors import ArgumentError
from penalize.losses.base import FunctionLoss, Loss
from penalize.losses.wrappers import CallableLoss, TorchLoss
from penalize.registry import built_ins, custom_object_scope

__all__ = ["deserialize", "get", "serialize"]

CONFIGS = Configs("loss", "a loss", Loss)


def get(identifier: Any) -> Loss | None:
    """The loss that `identifier` stands for: always a `Loss`, to be called as `loss(y_true, y_pred, sample_weight)`.

    `None` stays `None`; a name of a function or class ("mse", "mean_squared_error", "MeanSquaredError") and a class
    give a loss with its defaults; a config gives what `deserialize` makes of it; a loss is returned as it is; a
    torch.nn module, or a class of such, is wrapped in a `TorchLoss`; any other function of (y_true, y_pred) in a
    `CallableLoss`.

    Raises `UnknownNameError` for an unknown name, offering the nearest, and `ArgumentError` for anything else. Source:
    Keras 3.15.1, `keras.losses.get`, which returns functions for their names.

    >>> get("mse")
    MeanSquaredError()
    >>> get(torch.nn.L1Loss)
    TorchLoss(L1Loss())
    """
    if identifier is None or isinstance(identifier, Loss):
        return identifier
    if isinstance(identifier, str | Mapping):
        return deserialize(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Loss | torch.nn.Module):
        identifier = identifier()
    if isinstance(identifier, Loss):
        return identifier
    if isinstance(identifier, torch.nn.Module):
        return TorchLoss(identifier)
    if callable(identifier) and not isinstance(identifier, type):
        return _as_loss(identifier)
    raise ArgumentError(
        "a loss is None, a name, a Loss, a torch.nn module, a config or a function of (y_true, y_pred), "
        f"got {type(identifier).__name__}: {identifier!r:.80}"
    )


def serialize(loss: Any) -> dict[str, Any] | None:
    """The config of a loss in Keras's form, which `deserialize` makes an equal one of.

    Raises `ConfigError` for torch modules, and for functions and classes that are not registered: they could not be
    read back.

    >>> from penalize.losses import MeanSquaredError
    >>> serialize(MeanSquaredError())["config"]
    {'name': 'mean_squared_error', 'reduction': 'sum_over_batch_size'}
    """
    if loss is None:
        return None
    return CONFIGS.write(loss.function if isinstance(loss, CallableLoss) else loss)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Loss | None:
    """A new loss from what `serialize` gave, from Keras's config of the same loss, or from a name.

    Nothing is imported: a config chooses among the built-ins, what is registered, and `custom_objects`.

    Raises `UnknownNameError` for an unknown name and `ConfigError` for a config that does not fit.
    """
    if config is None:
        return None
    with custom_object_scope(custom_objects):
        chosen, values = CONFIGS.choose(config)
        if values is None:
            return _as_loss(chosen)
        loss: Loss = CONFIGS.make(chosen, values)
        return loss


def _as_loss(thing: Any) -> Loss:
    """A class's instance; for a function of this package its class's; for another function its wrapper."""
    if isinstance(thing, type):
        loss: Loss = CONFIGS.make(thing, {})
        return loss
    for entry in built_ins("loss"):
        factory = entry.factory
        if isinstance(factory, type) and issubclass(factory, FunctionLoss) and factory.function is thing:
            return factory()
    return thing if isinstance(thing, Loss) else CallableLoss(thing)
