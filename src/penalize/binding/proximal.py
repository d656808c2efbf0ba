"""Proximal steps: after an optimizer's step, each penalty that has one takes it, in the optimizer's own metric."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch

from penalize.binding.clipping import Clipping
from penalize.binding.step_sizes import has_metric, refuse_without_metric, step_sizes
from penalize.errors import BindError
from penalize.evaluation import Shrinking, StepSizes
from penalize.optimizers.rules import Rule
from penalize.placement import WeightTarget
from penalize.regularizers.base import has_diagonal_prox, has_prox
from penalize.regularizers.distributed import adds_up, is_distributed
from penalize.regularizers.norms import strengths_of

__all__ = ["ProximalSteps", "warn_of_decay"]


class ProximalSteps:
    """The proximal steps of the targets that one optimizer holds and whose regularizers have one.

    Raises `BindError` where they could not be right.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, targets: Sequence[WeightTarget]) -> None:
        self.optimizer = optimizer
        self.targets = _proximal(optimizer, targets)
        plain = [(id(target.tensor()), target, strengths_of(target.regularizer)) for target in self.targets]
        together = [each for each in plain if each[2] is not None and not is_distributed(each[1].tensor())]
        self._places = {key: place for place, (key, _, _) in enumerate(together)}
        self._shrinking = Shrinking([t.tensor() for _, t, _ in together], [s for _, _, s in together if s])
        self._others = {key: target for key, target, _ in plain if key not in self._places}

    @torch.no_grad()
    def take(self, clipping: Clipping) -> None:
        """Take them, after the optimizer's step.

        A parameter that has no gradient was left out of the step, and is left out here.
        """
        found_inf: Any = getattr(self.optimizer, "found_inf", None)
        if found_inf is not None and bool(found_inf):
            # A GradScaler had a fused optimizer skip this step, which calls hooks all the same.
            clipping.coefficient = 1.0
            return
        steps: dict[int, StepSizes] = {}
        for group, clipped in zip(self.optimizer.param_groups, clipping.of_step(self.optimizer), strict=True):
            for parameter in group["params"]:
                key = id(parameter)
                if parameter.grad is None or not (key in self._places or key in self._others):
                    continue
                sizes = step_sizes(self.optimizer, group, parameter)
                sizes = sizes if clipped == 1.0 else sizes.times(clipped)
                if key in self._places:
                    steps[self._places[key]] = sizes
                else:
                    _shrink(self._others[key], parameter, sizes)
        self._shrinking.take(steps)


def _proximal(optimizer: torch.optim.Optimizer, targets: Sequence[WeightTarget]) -> list[WeightTarget]:
    chosen: dict[int, WeightTarget] = {}
    for target in targets:
        if not has_prox(target.regularizer):
            continue
        refuse_without_metric(optimizer, target.name)
        weight = target.tensor()
        if has_metric(optimizer) and not has_diagonal_prox(target.regularizer):
            raise BindError(
                f"{target.name}: the proximal step of {target.regularizer!r} is known for one step size alone, and "
                f"{type(optimizer).__name__} has one for each coordinate; use torch.optim.SGD, or bind(optimizer) "
                "without proximal=True"
            )
        if is_distributed(weight) and not adds_up(target.regularizer):
            raise BindError(
                f"{target.name}: the proximal step of {target.regularizer!r} needs the whole weight, of which each "
                "process holds a part; use a penalty of elements, or bind(optimizer) without proximal=True"
            )
        chosen.setdefault(id(weight), target)
    return list(chosen.values())


def warn_of_decay(optimizers: Sequence[torch.optim.Optimizer]) -> None:
    """Warn where weights decay besides their penalties, as AdamW's do by default."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            decoupled = isinstance(optimizer, torch.optim.AdamW | Rule) or group.get("decoupled_weight_decay")
            if decoupled and group.get("weight_decay"):
                kind = type(optimizer).__name__
                warnings.warn(
                    f"bind(proximal=True): {kind}(weight_decay={group['weight_decay']}) decays weights besides their "
                    "penalties, which moves the solution; pass weight_decay=0 for that of the penalties alone",
                    stacklevel=4,
                )


def _shrink(target: WeightTarget, parameter: torch.Tensor, sizes: StepSizes) -> None:
    if is_distributed(parameter):
        # Each process shrinks its own elements.
        squares: Any = sizes.squares
        step = sizes._replace(squares=None if squares is None else squares.to_local()).tensor()
        own: torch.Tensor = parameter.to_local()  # type: ignore[attr-defined]
        if own.numel():
            own.copy_(target.regularizer.prox(own, step))
        return
    step = sizes.tensor()
    step = target.in_regularizer_layout(step) if isinstance(step, torch.Tensor) else step
    shrunk = target.regularizer.prox(target.in_regularizer_layout(parameter), step)
    parameter.copy_(target.in_torch_layout(shrunk))
