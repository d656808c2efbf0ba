"""From an identifier (a name, function or config) to an activation function, and back to a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from penalize.activations.functions import linear
from penalize.configs import function_config, function_from
from penalize.errors import ArgumentError, ConfigError
from penalize.registry import (
    built_ins,
    custom_names,
    custom_object,
    custom_object_scope,
    find,
    is_built_in_name,
    registered_name,
)

__all__ = ["deserialize", "get", "serialize"]


def get(identifier: Any) -> Callable[..., Any]:
    """The activation function that `identifier` stands for.

    `None` gives `linear`; a name ("relu", or the "package>name" of a registered function) its function; a config what
    `deserialize` makes of it; functions and modules are returned as they are, a class of modules gives an instance.

    Raises `UnknownNameError` for an unknown name, offering the nearest, and `ArgumentError` for anything else.
    Source: Keras 3.15.1, `keras.activations.get`.

    >>> get("swish").__name__, get(None).__name__
    ('silu', 'linear')
    """
    if identifier is None:
        return linear
    if isinstance(identifier, str | Mapping):
        found: Callable[..., Any] = deserialize(identifier)
        return found
    if isinstance(identifier, type):
        if issubclass(identifier, torch.nn.Module):
            return identifier()
    elif callable(identifier):
        return identifier  # type: ignore[no-any-return]
    raise ArgumentError(
        "an activation is None, a name, a function from a tensor to a tensor, or a module, "
        f"got {type(identifier).__name__}: {identifier!r:.80}"
    )


def serialize(activation: Any) -> Any:
    """The name of a built-in ("linear" for None), Keras's config of a registered function.

    Raises `ConfigError` for a function that is not registered: it could not be read back.

    >>> from penalize.activations import softmax
    >>> serialize(softmax)
    'softmax'
    """
    if activation is None:
        return "linear"
    for entry in built_ins("activation"):
        if entry.factory is activation:
            return entry.class_name
    name = registered_name(activation)
    if name is None:
        label = getattr(activation, "__name__", activation)
        raise ConfigError(
            f"{label!r:.80} has no name that could be read back: register it with "
            "@penalize.saving.register_serializable(package=...)"
        )
    return function_config(name)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The function that `serialize` was given, from its name or config; None stays None.

    `custom_objects` maps names to functions that need not be registered. Nothing is imported.

    Raises `UnknownNameError` for an unknown name and `ConfigError` for another kind of config.
    """
    if config is None:
        return None
    with custom_object_scope(custom_objects):
        if not isinstance(config, Mapping):
            return _named(config, {})
        if config.get("class_name") != "function":
            raise ConfigError(
                f"an activation's config has the class_name 'function', got {config.get('class_name')!r:.80}"
            )
        if not isinstance(config.get("config"), str):
            return _named(config.get("config"), {})
        return function_from("activation", config, _named)


def _named(name: Any, config: Mapping[str, Any]) -> Any:
    if not isinstance(name, str):
        raise ConfigError(f"an activation's config is a name, got {type(name).__name__}: {name!r:.80}")
    registered = None if is_built_in_name("activation", name) else custom_object(name)
    if registered is None:
        return find("activation", name, extra=custom_names()).factory
    if isinstance(registered, type):
        raise ConfigError(f"{name!r:.80} is a class, where an activation function belongs")
    return registered
