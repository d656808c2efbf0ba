"""From an identifier (a name, spec, class, config or torch optimizer) to an optimizer, and back to a config."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from penalize.errors import ArgumentError, ConfigError, UnknownNameError, nearest
from penalize.optimizers.base import Optimizer
from penalize.registry import built_ins, custom_object, find, is_built_in_name, registered_name

__all__ = ["TorchOptimizer", "deserialize", "get", "serialize"]

# What Keras's configs say besides, and the values at which it changes nothing.
KERAS_ONLY: dict[str, tuple[Any, ...]] = {
    "use_ema": (False, None),
    "ema_overwrite_frequency": (None,),
    "loss_scale_factor": (None,),
    "gradient_accumulation_steps": (None,),
}
CONFIG_KEYS = ("module", "class_name", "config", "registered_name", "shared_object_id", "build_config")


class TorchOptimizer:
    """A class of torch optimizers (or a `functools.partial` of one) in the place of a spec.

    >>> TorchOptimizer(torch.optim.SGD)
    TorchOptimizer(SGD)
    """

    def __init__(self, factory: Callable[..., torch.optim.Optimizer]) -> None:
        self.factory = factory

    def build(self, parameters: Iterable[Any]) -> torch.optim.Optimizer:
        """A new optimizer of these parameters, with the class's defaults."""
        return self.factory(parameters)

    def __repr__(self) -> str:
        return f"TorchOptimizer({getattr(self.factory, '__name__', self.factory)})"


def get(identifier: Any) -> Any:
    """The spec, or the torch optimizer, that `identifier` stands for.

    `None` stays `None`; a name, in any case ("adam", "Adam", "ADAM"), and a spec class give a spec with its defaults; a
    config gives what `deserialize` makes of it; a class of torch optimizers, or a `functools.partial` of one, gives a
    `TorchOptimizer`, to be built with its defaults; specs and torch optimizers are returned as they are.

    Raises `UnknownNameError` for an unknown name, offering the nearest, and `ArgumentError` for anything else.
    Source: Keras 3.15.1, `keras.optimizers.get`; classes and torch's are ours.

    >>> get("adam")
    Adam()
    >>> get({"class_name": "SGD", "config": {"learning_rate": 0.1}})
    SGD(learning_rate=0.1)
    """
    if identifier is None or isinstance(identifier, Optimizer | TorchOptimizer | torch.optim.Optimizer):
        return identifier
    if isinstance(identifier, str | Mapping):
        return deserialize(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Optimizer):
        return identifier()
    made = identifier.func if isinstance(identifier, functools.partial) else identifier
    if isinstance(made, type) and issubclass(made, torch.optim.Optimizer):
        return TorchOptimizer(identifier)
    raise ArgumentError(
        "an optimizer is a name, a spec of penalize.optimizers, a config, or a torch.optim class or instance, "
        f"got {type(identifier).__name__}: {identifier!r:.80}"
    )


def serialize(optimizer: Any) -> dict[str, Any] | None:
    """The config of a spec in Keras's form, which `deserialize` makes an equal one of.

    Raises `ConfigError` for torch's optimizers and for classes that are not registered: they could not be read back.

    >>> from penalize.optimizers import Lion
    >>> serialize(Lion())["class_name"]
    'Lion'
    """
    if optimizer is None:
        return None
    cls = type(optimizer)
    for entry in built_ins("optimizer"):
        if entry.factory is cls:
            return {
                "module": entry.module,
                "class_name": entry.class_name,
                "config": optimizer.get_config(),
                "registered_name": None,
            }
    name = registered_name(cls) if isinstance(optimizer, Optimizer) else None
    if name is None:
        raise ConfigError(
            f"{optimizer!r:.80} has no config that could be read back: use a spec of penalize.optimizers, or a "
            "subclass of Optimizer that is registered with @penalize.saving.register_serializable(package=...)"
        )
    config = optimizer.get_config()
    return {"module": cls.__module__, "class_name": cls.__name__, "config": config, "registered_name": name}


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A new spec from what `serialize` gave, from Keras's config of the same optimizer, or from a name.

    What Keras's configs say besides (`use_ema`, ...) must be switched off. Nothing is imported: a config chooses among
    the built-ins, registered classes and `custom_objects`.

    Raises `UnknownNameError` for an unknown class and `ConfigError` for a config that does not fit it.
    """
    customs = dict(custom_objects or {})
    if config is None:
        return None
    if isinstance(config, str):
        return _class(config, None, customs)()
    if not isinstance(config, Mapping):
        raise ConfigError(f"an optimizer's config is a dict or a name, got {type(config).__name__}: {config!r:.80}")
    for key in config:
        if key not in CONFIG_KEYS:
            raise ConfigError(f"an optimizer's config has an unknown key {key!r:.80}: {nearest(str(key), CONFIG_KEYS)}")
    class_name, values = config.get("class_name"), config.get("config")
    if not isinstance(class_name, str):
        raise ConfigError(f'an optimizer\'s config needs a string "class_name", got {class_name!r:.80}')
    if values is not None and not isinstance(values, Mapping):
        raise ConfigError(f"{class_name}: config must be a dict, got {type(values).__name__}: {values!r:.80}")
    cls = _class(class_name, config.get("registered_name"), customs)
    return cls.from_config(_known_values(cls, values or {}))


def _class(name: str, full_name: Any, customs: Mapping[str, Any]) -> type[Optimizer]:
    for candidate in (full_name, name):
        if not isinstance(candidate, str):
            continue
        thing = customs[candidate] if candidate in customs else custom_object(candidate)
        if thing is not None:
            if not (isinstance(thing, type) and issubclass(thing, Optimizer)):
                raise ConfigError(
                    f"{candidate!r} is no optimizer: it is not a subclass of penalize.optimizers.Optimizer"
                )
            return thing
    if isinstance(full_name, str) and ">" in full_name:
        raise UnknownNameError(f"unknown optimizer {full_name[:80]!r}: register its class or pass it in custom_objects")
    found = name if is_built_in_name("optimizer", name) else name.lower()
    factory: type[Optimizer] = find("optimizer", found, extra=customs).factory  # type: ignore[assignment]
    return factory


def _known_values(cls: type[Optimizer], values: Mapping[Any, Any]) -> dict[str, Any]:
    parameters = inspect.signature(cls).parameters
    known = {}
    for key, value in values.items():
        if key in parameters:
            known[key] = value
        elif key in KERAS_ONLY:
            if value not in KERAS_ONLY[key]:
                raise ConfigError(f"{cls.__name__}: {key}={value!r:.80} is not supported")
        elif key != "ema_momentum":
            raise ConfigError(
                f"the config of {cls.__name__} has an unknown key {key!r:.80}: {nearest(str(key), parameters)}"
            )
    return known
