"""From an identifier (a name, class, instance, config, function or torch module) to a loss, and back to a config."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from penalize.errors import ArgumentError, ConfigError, UnknownNameError, nearest
from penalize.losses.base import FunctionLoss, Loss
from penalize.losses.wrappers import CallableLoss, TorchLoss
from penalize.registry import built_ins, custom_object, find, registered_name

__all__ = ["deserialize", "get", "serialize"]

CONFIG_KEYS = ("module", "class_name", "config", "registered_name", "shared_object_id", "build_config")


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
    thing: Any = loss.function if isinstance(loss, CallableLoss) else loss
    cls = type(thing)
    for entry in built_ins("loss"):
        if entry.factory is cls:
            config = thing.get_config()
            return {"module": entry.module, "class_name": entry.class_name, "config": config, "registered_name": None}
        if entry.factory is thing:
            return _function_config(entry.class_name)
    name = registered_name(cls) if isinstance(thing, Loss) else registered_name(thing)
    if name is None:
        raise ConfigError(
            f"{loss!r:.80} has no config that could be read back: register its class or function with "
            "@penalize.saving.register_serializable(package=...)"
        )
    if not isinstance(thing, Loss):
        return _function_config(name)
    config = thing.get_config()
    return {"module": cls.__module__, "class_name": cls.__name__, "config": config, "registered_name": name}


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Loss | None:
    """A new loss from what `serialize` gave, from Keras's config of the same loss, or from a name.

    Nothing is imported: a config chooses among the built-ins, what is registered, and `custom_objects`.

    Raises `UnknownNameError` for an unknown name and `ConfigError` for a config that does not fit.
    """
    customs = dict(custom_objects or {})
    if config is None:
        return None
    if isinstance(config, str):
        return _as_loss(_named(config, None, customs))
    if not isinstance(config, Mapping):
        raise ConfigError(f"a loss's config is a dict or a name, got {type(config).__name__}: {config!r:.80}")
    for key in config:
        if key not in CONFIG_KEYS:
            raise ConfigError(f"a loss's config has an unknown key {key!r:.80}: {nearest(str(key), CONFIG_KEYS)}")
    class_name, values = config.get("class_name"), config.get("config")
    if not isinstance(class_name, str):
        raise ConfigError(f'a loss\'s config needs a string "class_name", got {class_name!r:.80}')
    if class_name == "function":
        if not isinstance(values, str):
            raise ConfigError(f"a function's config is its name, got {values!r:.80}")
        return _as_loss(_named(values, None, customs))
    if values is not None and not isinstance(values, Mapping):
        raise ConfigError(f"{class_name}: config must be a dict, got {type(values).__name__}: {values!r:.80}")
    cls = _named(class_name, config.get("registered_name"), customs)
    if not (isinstance(cls, type) and issubclass(cls, Loss)):
        raise ConfigError(f"{class_name} is no loss: it is not a subclass of penalize.losses.Loss")
    parameters = inspect.signature(cls).parameters
    for key in values or {}:
        if key not in parameters and not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
            raise ConfigError(
                f"the config of {class_name} has an unknown key {key!r:.80}: {nearest(str(key), parameters)}"
            )
    return cls.from_config(dict(values or {}))


def _named(name: str, full_name: Any, customs: Mapping[str, Any]) -> Any:
    for candidate in (full_name, name):
        if isinstance(candidate, str):
            thing = customs[candidate] if candidate in customs else custom_object(candidate)
            if thing is not None:
                return thing
    if isinstance(full_name, str) and ">" in full_name:
        raise UnknownNameError(f"unknown loss {full_name[:80]!r}: register it or pass it in custom_objects")
    return find("loss", name, extra=customs).factory


def _as_loss(thing: Any) -> Loss:
    """A class's instance; for a function of this package its class's; for another function its wrapper."""
    if isinstance(thing, type):
        loss = thing()
        if not isinstance(loss, Loss):
            raise ConfigError(f"{thing.__name__} is no loss: it is not a subclass of penalize.losses.Loss")
        return loss
    for entry in built_ins("loss"):
        factory = entry.factory
        if isinstance(factory, type) and issubclass(factory, FunctionLoss) and factory.function is thing:
            return factory()
    return thing if isinstance(thing, Loss) else CallableLoss(thing)


def _function_config(name: str) -> dict[str, Any]:
    return {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}
