"""From an identifier (a name, class, instance, config or function) to a constraint, and back to a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penalize.configs import Configs
from penalize.constraints.base import Constraint
from penalize.errors import ArgumentError
from penalize.registry import custom_object_scope

__all__ = ["deserialize", "get", "serialize"]

CONFIGS = Configs("constraint", "a constraint", Constraint)


def get(identifier: Any) -> Any:
    """The constraint that `identifier` stands for.

    `None` stays `None`; a name ("max_norm", "non_neg", "unit_norm", "min_max_norm", a class name, or the "package>name"
    of a registered class) and a class give a constraint with its defaults; a config gives what `deserialize` makes of
    it; an instance and any other callable from a tensor to a tensor are returned as they are.

    Raises `UnknownNameError` for an unknown name, offering the nearest, and `ArgumentError` for anything else.
    Source: Keras 3.15.1, `keras.constraints.get`.

    >>> get("max_norm")
    MaxNorm(max_value=2, axis=0)
    >>> get({"class_name": "UnitNorm", "config": {"axis": [0, 1]}})
    UnitNorm(axis=(0, 1))
    """
    if identifier is None or isinstance(identifier, Constraint):
        return identifier
    if isinstance(identifier, str | Mapping):
        return deserialize(identifier)
    chosen = identifier() if isinstance(identifier, type) and issubclass(identifier, Constraint) else identifier
    if callable(chosen) and not isinstance(chosen, type):
        return chosen
    raise ArgumentError(
        "a constraint is None, a name, a Constraint, a config or a function from a tensor to a tensor, "
        f"got {type(identifier).__name__}: {identifier!r:.80}"
    )


def serialize(constraint: Any) -> dict[str, Any] | None:
    """The config of a constraint in Keras's form, which `deserialize` makes an equal one of.

    Raises `ConfigError` for a function or class that is not registered: it could not be read back.

    >>> from penalize.constraints import MaxNorm
    >>> serialize(MaxNorm(3))["config"]
    {'max_value': 3, 'axis': 0}
    """
    if constraint is None:
        return None
    if not callable(constraint):
        raise ArgumentError(f"only constraints and registered functions have configs, got {constraint!r:.80}")
    return CONFIGS.write(constraint)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A new constraint from what `serialize` gave, from Keras's config of the same constraint, or from a name.

    Nothing is imported: a config chooses among the built-ins, what is registered, and `custom_objects`.

    Raises `UnknownNameError` for an unknown name and `ConfigError` for a config that does not fit.

    >>> deserialize({"class_name": "MaxNorm", "config": {"max_value": 3}})
    MaxNorm(max_value=3, axis=0)
    """
    if config is None:
        return None
    with custom_object_scope(custom_objects):
        chosen, values = CONFIGS.choose(config)
        if values is None:
            return CONFIGS.chosen(chosen)
        return CONFIGS.make(chosen, values)
