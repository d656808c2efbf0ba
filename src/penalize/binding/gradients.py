"""Penalty gradients added at an optimizer's step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from penalize.errors import ArrayError, BindError
from penalize.evaluation import WeightPenalties, total, weight_losses
from penalize.placement import WeightTarget
from penalize.regularizers.base import has_gradient
from penalize.regularizers.distributed import adds_up, by_parts, is_distributed
from penalize.regularizers.penalty import penalty

__all__ = ["GradientBinding", "penalty_gradient"]


def penalty_gradient(target: WeightTarget) -> torch.Tensor:
    """The gradient of a target's penalty, of the parameter's layout; of a DTensor, placed like it."""
    weight = target.tensor().detach()
    if not is_distributed(weight):
        return target.in_torch_layout(_gradient(target, target.in_regularizer_layout(weight)))
    if adds_up(target.regularizer):
        return by_parts(lambda part: _gradient(target, part), weight, each=True)
    return by_parts(
        lambda x: target.in_torch_layout(_gradient(target, target.in_regularizer_layout(x))), weight, each=False
    )


def _gradient(target: WeightTarget, weight: torch.Tensor) -> torch.Tensor:
    """The gradient at a plain tensor of the regularizer's layout: closed form where declared, else autograd."""
    if has_gradient(target.regularizer):
        gradient: torch.Tensor = target.regularizer.gradient(weight)
        return gradient
    with torch.enable_grad():
        weight = weight.clone().requires_grad_()
        value = penalty(target.regularizer, weight, target.name)
        if not value.requires_grad:
            return torch.zeros_like(weight)
        (found,) = torch.autograd.grad(value, weight, allow_unused=True)
    return torch.zeros_like(weight) if found is None else found


class GradientBinding:
    """Adds the gradients of weight penalties inside `optimizer.step()`, once a step, before the optimizer reads them.

    With a closure the gradients are added after each evaluation of it, and the loss that it returns to the optimizer
    contains the penalties.
    """

    def __init__(self, penalties: WeightPenalties, optimizer: torch.optim.Optimizer) -> None:
        self.penalties = penalties
        self.optimizer = optimizer
        self._check_targets()
        self._checked: Any = None
        self._handle = optimizer.register_step_pre_hook(self._before_step)

    def remove(self) -> None:
        """Leave the optimizer as it was."""
        self._handle.remove()

    def _check_targets(self) -> None:
        known = {id(parameter) for group in self.optimizer.param_groups for parameter in group["params"]}
        for target in self.penalties.targets:
            if target.regularizer is None or target.frozen:
                continue
            weight = target.tensor()
            if not isinstance(weight, nn.Parameter):
                raise BindError(
                    f"{target.name}: the module computes this weight from others (it is parametrized or pruned), which "
                    "no gradient added at the optimizer's step reaches; use loss() instead of bind(), or exclude the "
                    "target with None"
                )
            if not weight.is_floating_point():
                raise ArrayError(
                    f"{target.name}: only real floating-point weights can be penalized, got {weight.dtype}"
                )
            if id(weight) not in known:
                raise BindError(
                    f"{target.name}: the optimizer {type(self.optimizer).__name__} does not hold this parameter, so "
                    "its penalty could not act; give the optimizer the parameter, or exclude the target with None"
                )

    def _before_step(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        # torch hands pre-hooks the arguments of `step` with the optimizer itself in front.
        itself, *given = args
        closure = given[0] if given else kwargs.get("closure")
        if closure is None:
            self._add_gradients()
            return None
        penalized = self._penalized(closure)
        return ((itself, penalized), {}) if given else (args, {**kwargs, "closure": penalized})

    def _penalized(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        def evaluate() -> Any:
            loss = closure()
            self._add_gradients()
            if loss is None:
                return None
            with torch.no_grad():
                values = [value for _, value in weight_losses(self.penalties.targets)]
                return loss + total(values, lambda: torch.as_tensor(loss).device)

        return evaluate

    @torch.no_grad()
    def _add_gradients(self) -> None:
        # A GradScaler hands fused optimizers gradients that are still scaled, and the scale beside them.
        scale = getattr(self.optimizer, "grad_scale", None)
        plan = self.penalties.current()
        if plan is not self._checked:
            # Parameters may have been unfrozen, replaced or tied since the last step.
            self._check_targets()
            self._checked = plan
        if scale is None:
            for group in plan.groups:
                group.add_gradients(
                    [self._gradient_of(p, t) for p, t in zip(group.weights, group.targets, strict=True)]
                )
            others = plan.others
        else:
            others = [*(target for group in plan.groups for target in group.targets), *plan.others]
        seen: set[int] = set()
        for target in others:
            parameter = target.tensor()
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            gradient = penalty_gradient(target)
            if scale is not None:
                gradient = gradient * scale
            self._gradient_of(parameter, target).add_(gradient)

    @staticmethod
    def _gradient_of(parameter: torch.Tensor, target: WeightTarget) -> torch.Tensor:
        """The gradient of the parameter; zeros where the loss gave none."""
        if not isinstance(parameter, nn.Parameter):
            raise BindError(f"{target.name}: the module holds no parameter here any more, so no gradient can be added")
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        if parameter.grad.layout != torch.strided:
            raise BindError(
                f"{target.name}: its gradient is sparse ({parameter.grad.layout}); use loss() instead of bind()"
            )
        return parameter.grad
