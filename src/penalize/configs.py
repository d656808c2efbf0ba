"""Configs in Keras's form: the one place that writes them, and the one that chooses and builds what they describe.

A config can only choose among the built-ins, what Python has registered, and the custom objects of the open scope.
Nothing is imported.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from penalize.errors import ConfigError, PenalizeError, UnknownNameError, nearest
from penalize.registry import (
    BuiltIn,
    built_ins,
    custom_names,
    custom_object,
    find,
    is_built_in_name,
    names,
    registered_name,
)

__all__ = ["Configs", "function_config"]

KEYS = ("module", "class_name", "config", "registered_name", "shared_object_id", "build_config")


def function_config(name: str) -> dict[str, Any]:
    """Keras's config of a function that is registered under this name."""
    return {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}


@dataclass(frozen=True)
class Configs:
    """The configs of one kind of object: `kind` as in the registry, `noun` with its article, and their base class."""

    kind: str
    noun: str
    base: type

    def write(self, thing: Any) -> dict[str, Any]:
        """The config of an instance or function; ConfigError when it could not be read back."""
        cls = type(thing)
        for entry in built_ins(self.kind):
            if entry.factory is cls:
                return _class_config(entry.module, entry.class_name, thing, entry.registered_name)
            if entry.factory is thing:
                return function_config(entry.class_name)
        of_class = isinstance(thing, self.base)
        name = registered_name(cls if of_class else thing)
        if name is None:
            label = cls.__name__ if of_class else getattr(thing, "__name__", repr(thing))
            raise ConfigError(
                f"{label[:80]!r} has no config that could be read back: register it with "
                "@penalize.saving.register_serializable(package=...)"
            )
        return _class_config(cls.__module__, cls.__name__, thing, name) if of_class else function_config(name)

    def choose(self, config: Any) -> tuple[Any, dict[str, Any] | None]:
        """The class or function that a config (or a name) chooses, and the values in it; None for a name alone.

        Raises ConfigError for what is no config, UnknownNameError for a name that stands for nothing.
        """
        if isinstance(config, str):
            return self._named(config, {}), None
        if not isinstance(config, Mapping):
            raise ConfigError(f"{self.noun}'s config is a dict or a name, got {type(config).__name__}: {config!r:.80}")
        _check_keys(config, KEYS, f"{self.noun}'s config")
        class_name, values = config.get("class_name"), config.get("config")
        if not isinstance(class_name, str):
            raise ConfigError(f'{self.noun}\'s config needs a string "class_name", got {class_name!r:.80}')
        if class_name == "function":
            if not isinstance(values, str):
                raise ConfigError(f"a function's config is its registered name, got {values!r:.80}")
            return self._named(values, {}), None
        if values is not None and not isinstance(values, Mapping):
            raise ConfigError(f"{class_name}: config must be a dict, got {type(values).__name__}: {values!r:.80}")
        return self._named(class_name, config), dict(values or {})

    def make(self, cls: Any, values: Mapping[Any, Any], without: Mapping[str, tuple[Any, ...]] | None = None) -> Any:
        """An instance of the chosen class, its values checked against the constructor's arguments first.

        `without` maps further keys that Keras writes to the values at which they change nothing; an empty tuple allows
        any value.
        """
        if not (isinstance(cls, type) and issubclass(cls, self.base)):
            name = getattr(cls, "__name__", repr(cls))
            raise ConfigError(
                f"{name[:80]!r} is no {self.kind}: it is not a subclass of penalize's {self.base.__name__}"
            )
        ignored = without or {}
        for key, allowed in ignored.items():
            if allowed and key in values and values[key] not in allowed:
                raise ConfigError(f"{cls.__name__}: {key}={values[key]!r:.80} is not supported")
        known = {key: value for key, value in values.items() if key not in ignored}
        parameters = inspect.signature(cls).parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            _check_keys(known, parameters, f"the config of {cls.__name__}")
        try:
            return cls.from_config(known)  # type: ignore[attr-defined]
        except PenalizeError:
            raise
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, RuntimeError, OverflowError) as error:
            raise ConfigError(f"{cls.__name__}: its config does not fit: {error!s:.200}") from error

    def _named(self, name: str, config: Mapping[str, Any]) -> Any:
        if is_built_in_name(self.kind, name):
            entry = find(self.kind, name)
            _check_origin(config, entry)
            return entry.factory
        full_name = config.get("registered_name")
        for candidate in (full_name, name):
            if isinstance(candidate, str):
                thing = custom_object(candidate)
                if thing is not None:
                    return thing
        wanted = full_name if isinstance(full_name, str) and ">" in full_name else name
        message = f"unknown {self.kind} {wanted[:80]!r}: "
        message += nearest(wanted, [*names(self.kind), *custom_names()])
        if config:
            message += " One of your own must be registered with @penalize.saving.register_serializable(), "
            message += "or passed in custom_objects"
        raise UnknownNameError(message)


def _class_config(module: str, class_name: str, thing: Any, name: str | None) -> dict[str, Any]:
    return {"module": module, "class_name": class_name, "config": thing.get_config(), "registered_name": name}


def _check_keys(given: Mapping[Any, Any], known: Iterable[str], where: str) -> None:
    names = list(known)
    for key in given:
        if not isinstance(key, str) or key not in names:
            raise ConfigError(f"{where} has an unknown key {str(key)[:80]!r}: {nearest(str(key), names)}")


def _check_origin(config: Mapping[str, Any], entry: BuiltIn) -> None:
    """What a config says of a built-in must be what Keras, or this package, says of it."""
    module = config.get("module")
    # "keras.src.backend.torch.optimizers.torch_adam" and the like are what Keras itself writes.
    plural = entry.module.split(".")[-1]
    of_keras = isinstance(module, str) and module.startswith("keras.src.") and plural in module.split(".")
    if module is not None and module != entry.module and not (of_keras and entry.registered_name is None):
        raise ConfigError(f"{entry.class_name}: module must be {entry.module!r}, got {module!r:.80}")
    name = config.get("registered_name")
    if name not in (None, entry.registered_name, entry.class_name):
        raise ConfigError(f"{entry.class_name}: registered_name must be {entry.registered_name!r}, got {name!r:.80}")
