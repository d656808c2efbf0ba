"""From an identifier (a name, class, instance, config or function) to a regularizer, and back to a config."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from penalize.errors import ArgumentError, ConfigError, StrengthError, UnknownNameError, nearest
from penalize.registry import (
    BuiltIn,
    built_ins,
    custom_names,
    custom_object,
    find,
    is_built_in_name,
    registered_name,
)
from penalize.regularizers.base import Regularizer
from penalize.regularizers.norms import l1_l2
from penalize.regularizers.strength import StrengthAttribute

__all__ = ["deserialize", "get", "serialize"]

# Keras's loader ignores the module of its own regularizers; these are the ones that its files carry.
KERAS_MODULES = ("keras.regularizers", "keras.src.regularizers.regularizers")

# Names that stand for a regularizer with other strengths than its class has by default.
PRESETS: dict[str, Callable[[], Regularizer]] = {"l1_l2": l1_l2, "l1l2": l1_l2}

CONFIG_KEYS = ("module", "class_name", "config", "registered_name", "shared_object_id", "build_config")


def get(identifier: Any) -> Any:
    """The regularizer that `identifier` stands for.

    `None` stays `None`; a name ("l1", "l2", "l1_l2", "orthogonal_regularizer", a class name, or the "package>name" of
    a registered class) gives a new one with its default strengths, "l1_l2" and "l1l2" with 0.01 and 0.01; a class gives
    an instance; a config gives what `deserialize` makes of it; an instance and any other callable are returned as
    they are.

    Raises `UnknownNameError` for an unknown name, offering the nearest, and `ArgumentError` for anything else.
    Source: Keras 3.15.1, `keras.regularizers.get`.

    >>> get("l1_l2")
    L1L2(l1=0.01, l2=0.01)
    >>> get({"class_name": "L2", "config": {"l2": 0.1}})
    L2(l2=0.1)
    """
    if identifier is None or isinstance(identifier, Regularizer):
        return identifier
    if isinstance(identifier, str):
        return _by_name(identifier)
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if identifier is l1_l2:
        return l1_l2()
    if isinstance(identifier, type) and issubclass(identifier, Regularizer):
        return identifier()
    if callable(identifier):
        return identifier() if isinstance(identifier, type) else identifier
    raise ArgumentError(
        "a regularizer is None, a name, a Regularizer, a config or a function from a tensor to a scalar, "
        f"got {type(identifier).__name__}: {identifier!r:.80}"
    )


def serialize(regularizer: Any) -> dict[str, Any] | None:
    """The config of a regularizer, which `deserialize` makes an equal one of.

    Raises `ConfigError` for a function or class that is not registered, saying how to register it: its config could not
    be read back. Source: Keras 3.15.1, whose form it is.

    >>> from penalize.regularizers import L2
    >>> serialize(L2(0.1))
    {'module': 'keras.regularizers', 'class_name': 'L2', 'config': {'l2': 0.1}, 'registered_name': None}
    """
    if regularizer is None:
        return None
    if isinstance(regularizer, Regularizer):
        cls = type(regularizer)
        for entry in built_ins("regularizer"):
            if entry.factory is cls:
                return {
                    "module": entry.module,
                    "class_name": entry.class_name,
                    "config": regularizer.get_config(),
                    "registered_name": entry.registered_name,
                }
        return {
            "module": cls.__module__,
            "class_name": cls.__name__,
            "config": regularizer.get_config(),
            "registered_name": _registered_or_refuse(cls),
        }
    if callable(regularizer):
        full_name = _registered_or_refuse(regularizer)
        return {"module": "builtins", "class_name": "function", "config": full_name, "registered_name": "function"}
    raise ArgumentError(f"only regularizers and registered functions have configs, got {regularizer!r:.80}")


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A new regularizer from what `serialize` gave, or from Keras's shorter forms of it.

    Needs "class_name" alone; "config" may be missing for the defaults. `custom_objects` maps class names or
    "package>name" to classes and functions that need not be registered.

    Nothing is imported: a config can only choose among the built-ins, what Python has registered, and
    `custom_objects`. Raises `UnknownNameError` for an unknown class and `ConfigError` for a config that does not fit.

    >>> deserialize({"class_name": "l1_l2", "config": {"l1": 0.3, "l2": 0.1}})
    L1L2(l1=0.3, l2=0.1)
    """
    customs = dict(custom_objects or {})
    if config is None:
        return None
    if isinstance(config, str):
        return _instance(customs[config]) if config in customs else _by_name(config, customs)
    if not isinstance(config, Mapping):
        raise ConfigError(f"a regularizer's config is a dict or a name, got {type(config).__name__}: {config!r:.80}")
    _check_keys(config, CONFIG_KEYS, "a regularizer's config")
    class_name = config.get("class_name")
    if not isinstance(class_name, str):
        raise ConfigError(f'a regularizer\'s config needs a string "class_name", got {class_name!r:.80}')
    if class_name == "function":
        return _custom(config.get("config"), customs)
    if class_name in PRESETS and class_name not in customs:
        class_name = "L1L2"
    if is_built_in_name("regularizer", class_name):
        entry = find("regularizer", class_name)
        _check_origin(config, entry)
        return _from_config(entry.factory, config.get("config"))
    custom = config.get("registered_name") or class_name
    return _from_config(
        _custom(custom if custom in customs or class_name not in customs else class_name, customs), config.get("config")
    )


def _by_name(name: str, customs: Mapping[str, Any] | None = None) -> Any:
    if name in PRESETS:
        return PRESETS[name]()
    registered = custom_object(name)
    if registered is not None:
        return _instance(registered)
    return find("regularizer", name, extra=[*PRESETS, *custom_names(), *(customs or {})]).factory()


def _instance(thing: Any) -> Any:
    return thing() if isinstance(thing, type) else thing


def _custom(name: Any, customs: Mapping[str, Any]) -> Any:
    if not isinstance(name, str):
        raise ConfigError(f"a custom regularizer is chosen by its registered name, got {name!r:.80}")
    thing = customs[name] if name in customs else custom_object(name)
    if thing is None:
        known = [entry.class_name for entry in built_ins("regularizer")]
        raise UnknownNameError(
            f"unknown regularizer {name[:80]!r}: {nearest(name, [*known, *custom_names(), *customs])} "
            "A custom one must be registered with @penalize.saving.register_serializable() or passed in custom_objects"
        )
    return thing


def _from_config(factory: Any, values: Any) -> Any:
    """An instance of the chosen class, its config checked against the constructor first."""
    if not isinstance(factory, type):
        return factory
    name = factory.__name__
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        raise ConfigError(f"{name}: config must be a dict, got {type(values).__name__}: {values!r:.80}")
    if not issubclass(factory, Regularizer):
        raise ConfigError(f"{name} is no regularizer: it is not a subclass of penalize.Regularizer")
    parameters = inspect.signature(factory).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        _check_keys(values, tuple(parameters), f"the config of {name}")
    for key, value in values.items():
        if isinstance(getattr(factory, key, None), StrengthAttribute) and value is None:
            raise StrengthError(f"{name}: {key} must be a finite real number >= 0, got None")
    return factory.from_config(dict(values))


def _check_keys(given: Mapping[Any, Any], known: tuple[str, ...], where: str) -> None:
    for key in given:
        if not isinstance(key, str) or key not in known:
            raise ConfigError(f"{where} has an unknown key {str(key)[:80]!r}: {nearest(str(key), known)}")


def _check_origin(config: Mapping[str, Any], entry: BuiltIn) -> None:
    modules = KERAS_MODULES if entry.registered_name is None else (entry.module,)
    module = config.get("module")
    if module is not None and module not in modules:
        raise ConfigError(f"{entry.class_name}: module must be {modules[0]!r}, got {module!r:.80}")
    name = config.get("registered_name")
    if name not in (None, entry.registered_name, entry.class_name):
        raise ConfigError(f"{entry.class_name}: registered_name must be {entry.registered_name!r}, got {name!r:.80}")


def _registered_or_refuse(thing: Any) -> str:
    name = registered_name(thing)
    if name is None:
        label = getattr(thing, "__name__", type(thing).__name__)
        raise ConfigError(
            f"{label!r} has no config that could be read back: register it with "
            "@penalize.saving.register_serializable(package=...)"
        )
    return name
