"""The optimizer of a path: one whose update is elementwise, so that over stacked weights it is one for each model."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop

from penalize import optimizers
from penalize.errors import ArgumentError, nearest

__all__ = ["OptimizerChoice", "choose_optimizer", "narrow"]

_CLASSES: tuple[type[torch.optim.Optimizer], ...] = (
    *(SGD, Adam, AdamW, NAdam, RAdam, RMSprop, Adagrad, Adadelta, Adamax),
)
_NAMES = {kind.__name__.lower(): kind for kind in _CLASSES}
# Those that have a kernel for CPUs which reads each tensor once.
_FUSED = (SGD, Adam, AdamW, Adagrad)


@dataclass(frozen=True)
class OptimizerChoice:
    """A class of torch optimizers and its settings, or a spec of `penalize.optimizers`."""

    made_of: Any
    settings: dict[str, Any] = field(default_factory=dict)

    def build(self, weights: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
        """A new optimizer of these weights."""
        if isinstance(self.made_of, optimizers.Optimizer):
            return self.made_of.build(list(weights))
        built: torch.optim.Optimizer = self.made_of(list(weights), **self.settings)
        return built

    def __str__(self) -> str:
        if isinstance(self.made_of, optimizers.Optimizer):
            return f"penalize.optimizers.{self.made_of!r}"
        given = ", ".join(f"{name}={value!r}" for name, value in self.settings.items() if name != "fused")
        return f"torch.optim.{self.made_of.__name__}({given})"


def choose_optimizer(optimizer: Any, learning_rate: float) -> OptimizerChoice:
    """The optimizer of a name or class of `torch.optim`, a `functools.partial` of one, or a spec.

    `learning_rate` is that of a name or class; a spec has its own, and so has a partial that sets `lr`. ArgumentError,
    naming it, for an optimizer that is not known to treat each element on its own.
    """
    if isinstance(optimizer, str):
        kind = _NAMES.get(optimizer.lower())
        if kind is None:
            raise ArgumentError(
                f"optimizer must be one of {', '.join(_NAMES)}, got {optimizer!r}: {nearest(optimizer.lower(), _NAMES)}"
            )
        optimizer = kind
    if isinstance(optimizer, optimizers.TorchOptimizer):
        optimizer = optimizer.factory
    if isinstance(optimizer, type) and issubclass(optimizer, optimizers.Optimizer):
        optimizer = optimizer(learning_rate=learning_rate)
    if isinstance(optimizer, optimizers.Optimizer):
        _check_spec(optimizer)
        return OptimizerChoice(optimizer)
    made = optimizer.func if isinstance(optimizer, functools.partial) else optimizer
    if isinstance(made, torch.optim.Optimizer):
        raise ArgumentError(
            f"optimizer must be a name, a class or a spec, which can be built for every model, got an instance of "
            f"{type(made).__name__}; pass torch.optim.{type(made).__name__}, or a functools.partial of it"
        )
    if not (isinstance(made, type) and issubclass(made, torch.optim.Optimizer)):
        raise ArgumentError(f"optimizer must be a name, a class of torch.optim or a spec, got {optimizer!r:.80}")
    if made not in _CLASSES:
        known = ", ".join(kind.__name__ for kind in _CLASSES)
        raise ArgumentError(
            f"optimizer {made.__name__} is not known to treat each element on its own, so it would mix the models that "
            f"are trained together; known are {known}"
        )
    return OptimizerChoice(made, _settings(optimizer, made, learning_rate))


def _check_spec(spec: optimizers.Optimizer) -> None:
    for name in ("clipnorm", "global_clipnorm"):
        if getattr(spec, name) is not None:
            raise ArgumentError(
                f"optimizer {spec!r}: {name} clips by a norm over all elements, which would mix the models that are "
                "trained together; use clipvalue, or none"
            )
    if type(spec).__module__ != optimizers.Optimizer.__module__.replace(".base", ".specs"):
        raise ArgumentError(
            f"optimizer {type(spec).__name__} is not known to treat each element on its own, so it would mix the "
            "models that are trained together; use one of penalize.optimizers"
        )


def _settings(optimizer: Any, kind: type[torch.optim.Optimizer], learning_rate: float) -> dict[str, Any]:
    given = dict(optimizer.keywords) if isinstance(optimizer, functools.partial) else {}
    if isinstance(optimizer, functools.partial) and optimizer.args:
        raise ArgumentError("optimizer: a functools.partial must name its settings, such as lr=0.1")
    for name in ("differentiable", "capturable", "maximize"):
        if given.get(name):
            raise ArgumentError(f"optimizer {kind.__name__}({name}=True) cannot train a path")
    settings = {"lr": learning_rate, **given}
    if kind in _FUSED and not {"fused", "foreach"} & settings.keys():
        settings["fused"] = True
    try:
        kind([torch.zeros(1, requires_grad=True)], **settings)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"optimizer {kind.__name__} cannot be built: {error}") from error
    return settings


def narrow(
    optimizer: torch.optim.Optimizer, old: Iterable[torch.Tensor], new: Iterable[torch.Tensor], kept: torch.Tensor
) -> None:
    """Let an optimizer go on with `new` stacked weights, which are the `kept` models of the `old` ones.

    States of a weight's shape are stacked as it is; others, such as counts of steps, are those of all models.
    """
    by_old = {id(before): after for before, after in zip(old, new, strict=True)}
    for before in [weight for group in optimizer.param_groups for weight in group["params"]]:
        state = optimizer.state.pop(before, {})
        optimizer.state[by_old[id(before)]] = {
            name: value[kept] if isinstance(value, torch.Tensor) and value.shape == before.shape else value
            for name, value in state.items()
        }
    for group in optimizer.param_groups:
        group["params"] = [by_old[id(weight)] for weight in group["params"]]
