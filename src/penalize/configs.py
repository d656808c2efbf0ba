"""Configs in Keras's form: the one place that writes them, and the one that chooses and builds what they describe.

A config can only choose among the built-ins, what Python has registered, and the custom objects of the open scope.
Nothing is imported.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from penalize.errors import ConfigError, PenalizeError, UnknownNameError, nearest
from penalize.registry import (
    RESERVED_PACKAGES,
    BuiltIn,
    built_ins,
    custom_names,
    custom_names_of,
    custom_object,
    find,
    is_built_in_name,
    names,
    registered_name,
)

__all__ = ["Configs", "function_config", "function_from", "printable", "readable"]

KEYS = ("module", "class_name", "config", "registered_name", "shared_object_id", "build_config")

# As of JSON; a config may also come as a dict.
MOST_DEPTH = 64
MOST_VALUES = 10**6
# Of an error's message that repeats a stranger's words.
MOST_LETTERS = 1_000

_inside: ContextVar[bool] = ContextVar("inside a config", default=False)


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

        A class is one of this kind. Raises ConfigError for what is no config, or says different things of its object,
        UnknownNameError for a name that stands for nothing.
        """
        if isinstance(config, str):
            return self._named(config, {}), None
        if not isinstance(config, Mapping):
            raise ConfigError(f"{self.noun}'s config is a dict or a name, got {type(config).__name__}: {config!r:.80}")
        _check_size(config, self.noun)
        _check_keys(config, KEYS, f"{self.noun}'s config")
        class_name, values = config.get("class_name"), config.get("config")
        if not isinstance(class_name, str):
            raise ConfigError(f'{self.noun}\'s config needs a string "class_name", got {class_name!r:.80}')
        if class_name == "function":
            return function_from(self.kind, config, self._named), None
        if values is not None and not isinstance(values, Mapping):
            name = printable(class_name, 80)
            raise ConfigError(f"{name}: config must be a dict, got {type(values).__name__}: {values!r:.80}")
        return self._named(class_name, config), dict(values or {})

    def chosen(self, config: Any) -> Any:
        """What a name, or a function's config, stands for: an instance of a class with its defaults, or a function.

        `choose` gave no values for it.
        """
        return self.make(config, {}) if isinstance(config, type) else config

    def make(self, cls: Any, values: Mapping[Any, Any], without: Mapping[str, tuple[Any, ...]] | None = None) -> Any:
        """An instance of the chosen class, its values checked against the constructor's arguments first.

        `without` maps further keys that Keras writes to the values at which they change nothing; an empty tuple allows
        any value.
        """
        self._require_kind(cls)
        ignored = without or {}
        for key, allowed in ignored.items():
            if allowed and key in values and values[key] not in allowed:
                raise ConfigError(f"{cls.__name__}: {key}={values[key]!r:.80} is not supported")
        known = {key: value for key, value in values.items() if key not in ignored}
        parameters = inspect.signature(cls).parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            _check_keys(known, parameters, f"the config of {cls.__name__}")
        token = _inside.set(True)
        try:
            return cls.from_config(known)
        except PenalizeError:
            raise
        except Exception as error:
            raise ConfigError(f"{cls.__name__}: its config does not fit: {printable(str(error))}") from error
        finally:
            _inside.reset(token)

    def _named(self, name: str, config: Mapping[str, Any]) -> Any:
        if is_built_in_name(self.kind, name):
            entry = find(self.kind, name)
            _check_origin(config, entry)
            return entry.factory
        full_name = config.get("registered_name")
        if full_name is not None and not isinstance(full_name, str):
            raise ConfigError(f"{name!r:.80}: registered_name must be a string, got {full_name!r:.80}")
        found = {id(thing): thing for thing in map(custom_object, filter(None, (full_name, name))) if thing is not None}
        if found:
            thing = next(iter(found.values()))
            if len(found) > 1 or not _agree(thing, name, config):
                raise ConfigError(
                    f"module, class_name and registered_name disagree: {config.get('module')!r:.80}, {name!r:.80}, "
                    f"{full_name!r:.80}"
                )
            if isinstance(thing, type):
                self._require_kind(thing)
            return thing
        wanted = full_name if full_name is not None and ">" in full_name else name
        message = f"unknown {self.kind} {wanted!r:.80}: "
        message += nearest(wanted, [*names(self.kind), *custom_names()])
        if config:
            message += " One of your own must be registered with @penalize.saving.register_serializable(), "
            message += "or passed in custom_objects"
        raise UnknownNameError(message)

    def _require_kind(self, thing: Any) -> None:
        """Refuse what is no class of this kind, before an instance is made."""
        if not (isinstance(thing, type) and issubclass(thing, self.base)):
            name = getattr(thing, "__name__", repr(thing))
            raise ConfigError(
                f"{name!r:.80} is no {self.kind}: it is not a subclass of penalize's {self.base.__name__}"
            )


def function_from(kind: str, config: Mapping[Any, Any], named: Callable[[str, Mapping[str, Any]], Any]) -> Any:
    """The function that a function's config chooses; `named` finds it by its name.

    Raises ConfigError for a class, and for a config that says different things of the function.
    """
    _check_keys(config, KEYS, "a function's config")
    name, module, full_name = config.get("config"), config.get("module"), config.get("registered_name")
    if not isinstance(name, str):
        raise ConfigError(f"a function's config is its registered name, got {name!r:.80}")
    known = is_built_in_name(kind, name)
    entry = find(kind, name) if known else None
    # Keras says "builtins" of the class of functions, or where the function of its own is.
    modules = (None, "builtins", *([entry.module] if entry is not None else []))
    if module not in modules or full_name not in (None, "function", name):
        raise ConfigError(
            f"module, config and registered_name of a function disagree: {module!r:.80}, {name!r:.80}, "
            f"{full_name!r:.80}"
        )
    function = named(name, {})
    # A built-in class has aliases that are functions in Keras; its own name, and classes of others, are none.
    if isinstance(function, type) and (entry is None or name == entry.class_name):
        raise ConfigError(f"{name!r:.80} is a class, where a function belongs")
    return function


@contextlib.contextmanager
def readable() -> Iterator[None]:
    """Errors that are raised inside keep their messages short, and free of what could not be printed."""
    try:
        yield
    except PenalizeError as error:
        message = str(error)
        if len(message) <= MOST_LETTERS and message.replace("\n", " ").isprintable():
            raise
        raise type(error)(printable(message, MOST_LETTERS)) from error


def printable(text: str, most: int = 200) -> str:
    """The beginning of a text, in one line, with escapes for what could not be printed."""
    line = " ".join(text[: 2 * most].split())
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)[:most]


def _agree(thing: Any, name: str, config: Mapping[str, Any]) -> bool:
    """Whether a config says of a custom object what it is called here.

    The module of its class may be another one in another program; but it is not one of Keras's or this package's.
    """
    known, full_name, module = custom_names_of(thing), config.get("registered_name"), config.get("module")
    elsewhere = module is not None and module != getattr(thing, "__module__", None)
    if elsewhere and (not isinstance(module, str) or module.split(".")[0] in (*RESERVED_PACKAGES, "builtins")):
        return False
    return name in known and (full_name is None or full_name in known or full_name.rpartition(">")[2] in known)


def _check_size(config: Mapping[Any, Any], noun: str) -> None:
    """Refuse what is nested deeper, or holds more, than a config that was parsed from JSON."""
    if _inside.get():
        return
    waiting: list[tuple[Any, int]] = [(config, 1)]
    count = 0
    while waiting:
        value, depth = waiting.pop()
        count += len(value)
        if depth > MOST_DEPTH or count > MOST_VALUES:
            what = f"nested deeper than {MOST_DEPTH}" if depth > MOST_DEPTH else f"of more than {MOST_VALUES} values"
            raise ConfigError(f"{noun}'s config is {what}")
        items = value.values() if isinstance(value, Mapping) else value
        waiting.extend((item, depth + 1) for item in items if isinstance(item, Mapping | list | tuple))


def _class_config(module: str, class_name: str, thing: Any, name: str | None) -> dict[str, Any]:
    return {"module": module, "class_name": class_name, "config": thing.get_config(), "registered_name": name}


def _check_keys(given: Mapping[Any, Any], known: Iterable[str], where: str) -> None:
    names = list(known)
    for key in given:
        if not isinstance(key, str) or key not in names:
            raise ConfigError(f"{where} has an unknown key {str(key)!r:.80}: {nearest(str(key), names)}")


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
