"""The one table from names to classes: files can choose from it, only Python can add to it."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from penalize.errors import RegistrationError, UnknownNameError, nearest

__all__ = [
    "BuiltIn",
    "built_in",
    "built_ins",
    "custom_names",
    "custom_object",
    "custom_object_scope",
    "custom_names_of",
    "find",
    "is_built_in_name",
    "names",
    "register_serializable",
    "registered_name",
]

Registered = TypeVar("Registered", bound=Callable[..., Any])

ROOMS = ("constraints", "losses", "metrics", "optimizers", "models")
LAST_KIND = "layer"  # models enter theirs, too, after all layers
RESERVED_PACKAGES = ("keras", "penalize")


@dataclass(frozen=True)
class BuiltIn:
    """One class or function of this package that a name or a file may choose.

    `factory` makes the object from its config; `module` and `registered_name` are what a file says of it.
    """

    kind: str
    class_name: str
    factory: Callable[..., Any]
    module: str
    registered_name: str | None


_built_ins: dict[str, dict[str, BuiltIn]] = {}
_names: dict[str, dict[str, BuiltIn]] = {}
_customs: dict[str, Callable[..., Any]] = {}
_NONE: Mapping[str, Any] = MappingProxyType({})
_scope: ContextVar[Mapping[str, Any]] = ContextVar("custom_object_scope", default=_NONE)


def built_in(
    kind: str, *, module: str, names: Iterable[str] = (), class_name: str | None = None
) -> Callable[[Registered], Registered]:
    """Enter a class or function of this package under its own name and under `names` as a `kind`.

    `module` is the module that files give for it: "keras...." for what Keras has too, and then no registered
    name; "penalize...." for our own, which carry the registered name "penalize>ClassName". `class_name` is what files
    call it, where that is not its own name.
    """

    def enter(thing: Registered) -> Registered:
        written = thing.__name__ if class_name is None else class_name
        own = None if module.startswith("keras") else f"penalize>{written}"
        entry = BuiltIn(kind, written, thing, module, own)
        for name in (written, *names):
            taken = _names.setdefault(kind, {})
            if name in taken:
                raise RegistrationError(f"{kind} name {name!r} is taken by {taken[name].factory!r}")
            taken[name] = entry
        _built_ins.setdefault(kind, {})[written] = entry
        return thing

    return enter


def built_ins(kind: str) -> Iterator[BuiltIn]:
    """Every built-in of one kind, once each, in the order of registration."""
    yield from _built_ins.get(kind, {}).values()


def find(kind: str, name: str, *, extra: Iterable[str] = ()) -> BuiltIn:
    """The built-in of one kind that `name` stands for; an unknown name is an error that offers the nearest.

    `extra` are further names that the caller knows, to be offered too.
    """
    known = _names.get(kind, {})
    if name in known:
        return known[name]
    raise UnknownNameError(f"unknown {kind} {name!r:.80}: {nearest(name, [*known, *extra])}")


def names(kind: str) -> list[str]:
    """Every name that stands for a built-in of this kind."""
    return list(_names.get(kind, {}))


def is_built_in_name(kind: str, name: str) -> bool:
    """Whether `name` stands for a built-in of this kind."""
    if kind == LAST_KIND and name not in _names.get(kind, {}):
        enter_all()
    return name in _names.get(kind, {})


def enter_all() -> None:
    """Import the rooms that enter names, so that the table is whole: a program loads only those that it uses."""
    for room in ROOMS:
        importlib.import_module(f"{__package__}.{room}")


def register_serializable(package: str = "Custom", name: str | None = None) -> Callable[[Registered], Registered]:
    """Decorator: let configs and files choose this class or function by the name "package>name".

    Registering the same class again (a notebook cell run twice) replaces it; another class under a name that is
    taken, and the packages "keras" and "penalize", are refused.

    Parameters: `package`, the part before ">"; `name`, the part after it, by default the object's own name.

    Raises `RegistrationError` when the name is taken, reserved or a built-in's, or when the object is neither a
    class nor a named function.

    >>> import penalize
    >>> @penalize.saving.register_serializable(package="docs")
    ... class Cubes(penalize.Regularizer):
    ...     def __call__(self, x):
    ...         return (abs(x) ** 3).sum()
    >>> penalize.regularizers.serialize(Cubes())["registered_name"]
    'docs>Cubes'
    """
    if not isinstance(package, str) or not package or ">" in package:
        raise RegistrationError(f"package must be a non-empty string without '>', got {package!r}")
    if package in RESERVED_PACKAGES:
        raise RegistrationError(f"package {package!r} is reserved: choose a name of your own")
    if name is not None and (not isinstance(name, str) or not name or ">" in name):
        raise RegistrationError(f"name must be a non-empty string without '>', got {name!r}")

    def register(thing: Registered) -> Registered:
        own_name = name if name is not None else getattr(thing, "__name__", "")
        if not callable(thing) or not own_name or own_name == "<lambda>":
            raise RegistrationError(f"only classes and named functions can be registered, got {thing!r}")
        enter_all()
        if any(own_name in names for names in _names.values()):
            raise RegistrationError(f"{own_name!r} is the name of a built-in: register yours under another `name=`")
        full_name = f"{package}>{own_name}"
        before = _customs.get(full_name)
        if before is not None and _origin(before) != _origin(thing):
            raise RegistrationError(f"{full_name!r} is already registered for {before!r}; choose another name")
        _customs[full_name] = thing
        return thing

    return register


def custom_object(name: str) -> Callable[..., Any] | None:
    """The custom class or function of this name, in the scope that is open or registered as "package>name", or None."""
    found: Callable[..., Any] | None = _scope.get().get(name, _customs.get(name))
    return found


def custom_names() -> list[str]:
    """Every name of a custom class or function: those of the open scope, and "package>name" of registered ones."""
    return [*_scope.get(), *_customs]


def custom_names_of(thing: object) -> set[str]:
    """Every name that a custom class or function goes by: its own, those it was given, and these without "package>"."""
    given = [name for name, known in [*_scope.get().items(), *_customs.items()] if known is thing]
    return {getattr(thing, "__name__", ""), *given, *(name.rpartition(">")[2] for name in given)}


@contextlib.contextmanager
def custom_object_scope(custom_objects: Mapping[str, Any] | None) -> Iterator[None]:
    """Inside, configs may also choose these classes and functions by these names, without registration.

    Raises `RegistrationError` for what is no dict from names to classes and functions. Source: Keras 3.15.1,
    `keras.saving.custom_object_scope`.

    >>> import penalize
    >>> def cubes(x):
    ...     return (abs(x) ** 3).sum()
    >>> with custom_object_scope({"cubes": cubes}):
    ...     penalize.regularizers.get("cubes") is cubes
    True
    """
    given = {} if custom_objects is None else custom_objects
    if not isinstance(given, Mapping):
        raise RegistrationError(f"custom_objects must be a dict from names to classes, got {type(given).__name__}")
    for name, thing in given.items():
        if not isinstance(name, str) or not callable(thing):
            raise RegistrationError(
                f"custom_objects must map names to classes or functions, got {name!r:.80}: {thing!r:.80}"
            )
    token = _scope.set({**_scope.get(), **given})
    try:
        yield
    finally:
        _scope.reset(token)


def registered_name(thing: object) -> str | None:
    """The "package>name" under which a class or function was registered, or None."""
    for name, known in _customs.items():
        if known is thing:
            return name
    return None


def _origin(thing: Callable[..., Any]) -> tuple[str | None, str | None]:
    return getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
