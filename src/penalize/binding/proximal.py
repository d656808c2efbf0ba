"""Proximal steps: after an optimizer's step, each penalty that has one takes it, in the optimizer's own metric."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch

from penalize.binding.step_sizes import refuse_without_metric, step_sizes
from penalize.errors import BindError
from penalize.evaluation import StepSizes, shrink_
from penalize.optimizers.rules import Rule
from penalize.placement import WeightTarget
from penalize.regularizers.base import has_prox
from penalize.regularizers.distributed import adds_up, is_distributed
from penalize.regularizers.norms import strengths_of

__all__ = ["Clipping", "proximal_targets", "shrink"]


def proximal_targets(optimizer: torch.optim.Optimizer, targets: Sequence[WeightTarget]) -> list[WeightTarget]:
    """Those whose regularizers have a proximal step, each parameter once; `BindError` where it could not be right."""
    chosen: dict[int, WeightTarget] = {}
    for target in targets:
        if not has_prox(target.regularizer):
            continue
        refuse_without_metric(optimizer, target.name)
        weight = target.tensor()
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


class Clipping:
    """By how much an optimizer's gradients were clipped, averaged as its momentum averages gradients.

    A gradient that was scaled by 0.5 five steps ago is still part of the step: the threshold must be so, too. With the
    last coefficient alone the steps can end in a cycle around the solution.
    """

    def __init__(self) -> None:
        self.coefficient = 1.0
        self.averages: list[float] = []

    def of_step(self, optimizer: torch.optim.Optimizer) -> list[float]:
        """The average for each parameter group, this step's coefficient in it; the next step begins with 1."""
        now, self.coefficient = self.coefficient, 1.0
        before = self.averages + [now] * (len(optimizer.param_groups) - len(self.averages))
        rates = [
            group["betas"][0] if "betas" in group else group.get("momentum", 0) for group in optimizer.param_groups
        ]
        self.averages = [rate * old + (1 - rate) * now for rate, old in zip(rates, before, strict=True)]
        return self.averages


@torch.no_grad()
def shrink(optimizer: torch.optim.Optimizer, targets: Sequence[WeightTarget], clipping: Clipping) -> None:
    """The proximal steps of the targets, after the optimizer's step.

    A parameter that has no gradient was left out of the step, and is left out here.
    """
    found_inf: Any = getattr(optimizer, "found_inf", None)
    if found_inf is not None and bool(found_inf):
        return  # a GradScaler had a fused optimizer skip this step, which calls hooks all the same
    by_parameter = {id(target.tensor()): target for target in targets}
    for group, clipped in zip(optimizer.param_groups, clipping.of_step(optimizer), strict=True):
        for parameter in group["params"]:
            target = by_parameter.get(id(parameter))
            if target is not None and parameter.grad is not None:
                sizes = step_sizes(optimizer, group, parameter)
                _shrink(target, parameter, sizes if clipped == 1.0 else sizes.times(clipped))


def _shrink(target: WeightTarget, parameter: torch.Tensor, sizes: StepSizes) -> None:
    if is_distributed(parameter):
        squares: Any = sizes.squares
        own_squares = None if squares is None else squares.to_local()
        sizes = StepSizes(sizes.scale, own_squares, sizes.inside, sizes.outside, sizes.rooted)
        parameter = parameter.to_local()  # type: ignore[attr-defined]
        if not parameter.numel():
            return
    strengths = strengths_of(target.regularizer)
    if strengths is not None:
        shrink_(parameter, sizes, *strengths)
        return
    step = sizes.tensor()
    own_step = target.in_regularizer_layout(step) if isinstance(step, torch.Tensor) else step
    shrunk = target.regularizer.prox(target.in_regularizer_layout(parameter), own_step)
    parameter.copy_(target.in_torch_layout(shrunk))
