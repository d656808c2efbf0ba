"""From an identifier (a name, class, instance, config or function) to an initializer, and back to a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penalize.configs import Configs
from penalize.errors import ArgumentError
from penalize.initializers.base import Initializer
from penalize.registry import custom_object_scope

__all__ = ["deserialize", "get", "serialize"]

CONFIGS = Configs("initializer", "an initializer", Initializer)

# Keras 3.15.1 writes these for weights whose axes are not in the usual order.
WITHOUT = {"input_axes": (None,), "output_axes": (None,)}


def get(identifier: Any) -> Any:
    """The initializer that `identifier` stands for.

    `None` stays `None`; a name ("zeros", "glorot_uniform", a class name) and a class give an initializer with its
    defaults; a config gives what `deserialize` makes of it; initializers and other functions from (shape, dtype) to a
    tensor are returned as they are.

    Raises `UnknownNameError` for an unknown name, offering the nearest, and `ArgumentError` for anything else, tensors
    and arrays among it: `Constant` takes them. Source: Keras 3.15.1, `keras.initializers.get`.

    >>> get("he_normal")
    HeNormal(seed=None)
    """
    if identifier is None or isinstance(identifier, Initializer):
        return identifier
    if isinstance(identifier, str | Mapping):
        return deserialize(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Initializer):
        return identifier()
    if callable(identifier) and not isinstance(identifier, type):
        if getattr(identifier, "__module__", None) == "torch.nn.init":
            raise ArgumentError(
                f"torch.nn.init.{identifier.__name__} fills a tensor in place; an initializer is a function from "
                "(shape, dtype) to a tensor"
            )
        return identifier
    raise ArgumentError(
        "an initializer is None, a name, an Initializer, a config or a function from (shape, dtype) to a tensor, "
        f"got {type(identifier).__name__}: {identifier!r:.80}"
    )


def serialize(initializer: Any) -> dict[str, Any] | None:
    """The config of an initializer in Keras's form, which `deserialize` makes an equal one of.

    Raises `ConfigError` for a function or class that is not registered: it could not be read back.

    >>> from penalize.initializers import Constant
    >>> serialize(Constant(0.1))
    {'module': 'keras.initializers', 'class_name': 'Constant', 'config': {'value': 0.1}, 'registered_name': None}
    """
    if initializer is None:
        return None
    return CONFIGS.write(initializer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A new initializer from what `serialize` gave, from Keras's config of the same initializer, or from a name.

    Nothing is imported: a config chooses among the built-ins, what is registered, and `custom_objects`.

    Raises `UnknownNameError` for an unknown name and `ConfigError` for a config that does not fit.
    """
    if config is None:
        return None
    with custom_object_scope(custom_objects):
        chosen, values = CONFIGS.choose(config)
        if values is None:
            return CONFIGS.chosen(chosen)
        return CONFIGS.make(chosen, {key: _array(value) for key, value in values.items()}, WITHOUT)


def _array(value: Any) -> Any:
    """The numbers of an array as Keras writes one."""
    if (
        isinstance(value, Mapping)
        and value.get("class_name") == "__numpy__"
        and isinstance(value.get("config"), Mapping)
    ):
        return value["config"].get("value")
    return value
