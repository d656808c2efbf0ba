"""From an identifier (a name, class, instance, config or function) to a regularizer, and back to a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from penalize.configs import Configs
from penalize.errors import ArgumentError, StrengthError
from penalize.registry import custom_object_scope
from penalize.regularizers.base import Regularizer
from penalize.regularizers.norms import l1_l2
from penalize.regularizers.strength import strength_attributes

__all__ = ["deserialize", "get", "serialize"]

CONFIGS = Configs("regularizer", "a regularizer", Regularizer)

# Names that stand for a regularizer with other strengths than its class has by default.
PRESETS: dict[str, Callable[[], Regularizer]] = {"l1_l2": l1_l2, "l1l2": l1_l2}


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
    if isinstance(identifier, str | Mapping):
        return deserialize(identifier)
    if identifier is l1_l2:
        return l1_l2()
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
    if not callable(regularizer):
        raise ArgumentError(f"only regularizers and registered functions have configs, got {regularizer!r:.80}")
    return CONFIGS.write(regularizer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A new regularizer from what `serialize` gave, or from Keras's shorter forms of it.

    Needs "class_name" alone; "config" may be missing for the defaults. `custom_objects` maps class names or
    "package>name" to classes and functions that need not be registered.

    Nothing is imported: a config can only choose among the built-ins, what Python has registered, and
    `custom_objects`. Raises `UnknownNameError` for an unknown class and `ConfigError` for a config that does not fit.

    >>> deserialize({"class_name": "l1_l2", "config": {"l1": 0.3, "l2": 0.1}})
    L1L2(l1=0.3, l2=0.1)
    """
    if config is None:
        return None
    with custom_object_scope(custom_objects):
        if isinstance(config, str) and config in PRESETS:
            return PRESETS[config]()
        if isinstance(config, Mapping) and config.get("class_name") in ("l1_l2", "l1l2"):
            config = {**config, "class_name": "L1L2"}
        chosen, values = CONFIGS.choose(config)
        if values is None:
            return CONFIGS.chosen(chosen)
        for key in strength_attributes(chosen):
            if key in values and values[key] is None:
                raise StrengthError(f"{chosen.__name__}: {key} must be a finite real number >= 0, got None")
        return CONFIGS.make(chosen, values)
