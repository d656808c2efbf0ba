"""From an identifier (a name, spec, class, config or torch optimizer) to an optimizer, and back to a config."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from penalize.configs import Configs
from penalize.errors import ArgumentError
from penalize.optimizers.base import Optimizer
from penalize.registry import custom_object_scope, is_built_in_name

__all__ = ["TorchOptimizer", "deserialize", "get", "serialize"]

CONFIGS = Configs("optimizer", "an optimizer", Optimizer)

# What Keras's configs say besides, and the values at which it changes nothing.
WITHOUT: dict[str, tuple[Any, ...]] = {
    "use_ema": (False, None),
    "ema_momentum": (),
    "ema_overwrite_frequency": (None,),
    "loss_scale_factor": (None,),
    "gradient_accumulation_steps": (None,),
}


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
    return CONFIGS.write(optimizer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A new spec from what `serialize` gave, from Keras's config of the same optimizer, or from a name.

    What Keras's configs say besides (`use_ema`, ...) must be switched off. Nothing is imported: a config chooses among
    the built-ins, registered classes and `custom_objects`.

    Raises `UnknownNameError` for an unknown class and `ConfigError` for a config that does not fit it.
    """
    if config is None:
        return None
    with custom_object_scope(custom_objects):
        if isinstance(config, str) and is_built_in_name("optimizer", config.lower()):
            config = config.lower()
        chosen, values = CONFIGS.choose(config)
        return CONFIGS.make(chosen, values or {}, WITHOUT)
