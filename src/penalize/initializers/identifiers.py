"""From an identifier (a name, class, instance, config or function) to an initializer, and back to a config."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from penalize.errors import ArgumentError, ConfigError, UnknownNameError, nearest
from penalize.initializers.base import Initializer
from penalize.registry import built_ins, custom_object, find, registered_name

__all__ = ["deserialize", "get", "serialize"]

CONFIG_KEYS = ("module", "class_name", "config", "registered_name", "shared_object_id", "build_config")

# Keys of Keras 3.15.1's scaled initializers, for weights whose axes are not in the usual order.
AXES_KEYS = ("input_axes", "output_axes")


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
    cls = type(initializer)
    for entry in built_ins("initializer"):
        if entry.factory is cls:
            config = initializer.get_config()
            return {"module": entry.module, "class_name": entry.class_name, "config": config, "registered_name": None}
    of_class = isinstance(initializer, Initializer)
    name = registered_name(cls if of_class else initializer)
    if name is None:
        label = cls.__name__ if of_class else getattr(initializer, "__name__", repr(initializer))
        raise ConfigError(
            f"{label[:80]!r} has no config that could be read back: register it with "
            "@penalize.saving.register_serializable(package=...)"
        )
    if not of_class:
        return {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}
    config = initializer.get_config()
    return {"module": cls.__module__, "class_name": cls.__name__, "config": config, "registered_name": name}


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A new initializer from what `serialize` gave, from Keras's config of the same initializer, or from a name.

    Nothing is imported: a config chooses among the built-ins, what is registered, and `custom_objects`.

    Raises `UnknownNameError` for an unknown name and `ConfigError` for a config that does not fit.
    """
    customs = dict(custom_objects or {})
    if config is None:
        return None
    if isinstance(config, str):
        return _instance(_named(config, None, customs))
    if not isinstance(config, Mapping):
        raise ConfigError(f"an initializer's config is a dict or a name, got {type(config).__name__}: {config!r:.80}")
    for key in config:
        if key not in CONFIG_KEYS:
            raise ConfigError(
                f"an initializer's config has an unknown key {key!r:.80}: {nearest(str(key), CONFIG_KEYS)}"
            )
    class_name, values = config.get("class_name"), config.get("config")
    if not isinstance(class_name, str):
        raise ConfigError(f'an initializer\'s config needs a string "class_name", got {class_name!r:.80}')
    if class_name == "function":
        if not isinstance(values, str):
            raise ConfigError(f"a function's config is its name, got {values!r:.80}")
        return _instance(_named(values, None, customs))
    if values is not None and not isinstance(values, Mapping):
        raise ConfigError(f"{class_name}: config must be a dict, got {type(values).__name__}: {values!r:.80}")
    cls = _named(class_name, config.get("registered_name"), customs)
    if not (isinstance(cls, type) and issubclass(cls, Initializer)):
        raise ConfigError(f"{class_name} is no initializer: it is not a subclass of penalize.initializers.Initializer")
    return cls.from_config(_known_values(cls, values or {}))


def _known_values(cls: type[Initializer], values: Mapping[Any, Any]) -> dict[str, Any]:
    parameters = inspect.signature(cls).parameters
    known = {}
    for key, value in values.items():
        if key in parameters:
            known[key] = _array(value)
        elif key not in AXES_KEYS:
            raise ConfigError(
                f"the config of {cls.__name__} has an unknown key {key!r:.80}: {nearest(str(key), parameters)}"
            )
        elif value is not None:
            raise ConfigError(f"{cls.__name__}: {key}={value!r:.80} is not supported")
    return known


def _array(value: Any) -> Any:
    """The numbers of an array as Keras writes one."""
    if (
        isinstance(value, Mapping)
        and value.get("class_name") == "__numpy__"
        and isinstance(value.get("config"), Mapping)
    ):
        return value["config"].get("value")
    return value


def _named(name: str, full_name: Any, customs: Mapping[str, Any]) -> Any:
    for candidate in (full_name, name):
        if isinstance(candidate, str):
            thing = customs[candidate] if candidate in customs else custom_object(candidate)
            if thing is not None:
                return thing
    if isinstance(full_name, str) and ">" in full_name:
        raise UnknownNameError(f"unknown initializer {full_name[:80]!r}: register it or pass it in custom_objects")
    return find("initializer", name, extra=customs).factory


def _instance(thing: Any) -> Any:
    return thing() if isinstance(thing, type) else thing
