"""The gradients of weight penalties, and adding them to those of the parameters that one optimizer holds."""

from __future__ import annotations

import operator
import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from penalize.binding.clipping import Clipping
from penalize.errors import BindError
from penalize.evaluation import Group, WeightPenalties, weight_losses
from penalize.placement import WeightTarget
from penalize.regularizers.base import has_gradient
from penalize.regularizers.distributed import adds_up, by_parts, is_distributed
from penalize.regularizers.penalty import in_autocast, penalty

if TYPE_CHECKING:
    from penalize.binding.proximal import ProximalSteps

__all__ = ["Share", "penalty_gradient"]

# Python's own loops over these are fast also where their code is cold, as it is in the middle of a training step.
_TENSOR, _STRIDED = {torch.Tensor}, {torch.strided}
_gradient_of, _layout = operator.attrgetter("grad"), operator.attrgetter("layout")


def penalty_gradient(target: WeightTarget) -> torch.Tensor:
    """The gradient of a target's penalty, of the parameter's layout; of a DTensor, placed like it.

    A step may stand inside `torch.autocast`, which would take matrix products in half precision: this is outside of it.
    """
    weight = target.tensor().detach()
    if in_autocast(weight):
        with torch.autocast(weight.device.type, enabled=False):
            return penalty_gradient(target)
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


class Share:
    """The targets whose parameters one optimizer holds, and which of their gradients were added before its step."""

    def __init__(self, optimizer: torch.optim.Optimizer, penalties: WeightPenalties) -> None:
        self.optimizer = optimizer
        self.penalties = penalties
        # By the identity of the parameter. A gradient that is another tensor now is not what was added to.
        self.added: dict[int, weakref.ref[torch.Tensor]] = {}
        # Of the targets that take a proximal step instead.
        self.proximal: ProximalSteps | None = None
        self.clipping = Clipping()

    def waits(self) -> bool:
        """Whether gradients that were added ahead still wait for the optimizer's step."""
        return any(
            parameter.grad is not None and self.added[id(parameter)]() is parameter.grad
            for group in self.optimizer.param_groups
            for parameter in group["params"]
            if id(parameter) in self.added
        )

    def forget(self) -> None:
        """The optimizer makes its step: what was added is used up."""
        self.added.clear()

    def begin(self) -> None:
        """Begin a new cycle: the optimizer zeroed the gradients."""
        self.forget()
        self.clipping.coefficient = 1.0

    @torch.no_grad()
    def values(self) -> list[torch.Tensor]:
        """The penalties, as the optimizer takes them: what it maximizes, they lower."""
        maximized = self._maximized()
        targets = [*self.penalties.targets, *(self.proximal.targets if self.proximal is not None else ())]
        lowered = {target.name for target in targets if id(target.tensor()) in maximized}
        return [-value if name in lowered else value for name, value in weight_losses(targets)]

    def add(self) -> None:
        """Add the penalties' gradients to `.grad` of their parameters, where they are not in it yet."""
        # A GradScaler hands fused optimizers gradients that are still scaled, and the scale beside them.
        scale = vars(self.optimizer).get("grad_scale")
        maximized = self._maximized()
        plan = self._plan()
        together = [] if self.added or maximized or scale is not None else plan.groups
        # All are looked at before one is changed.
        gradients = [_grads(group) for group in together]
        rest = plan.others if together or not plan.groups else self._paying()
        alone = [(target, _grad(target, target.tensor())) for target in rest if not self._has(target)]
        for group, own in zip(together, gradients, strict=True):
            group.add_gradients(own)
        if alone:
            self._add_alone(alone, scale, maximized)

    @torch.no_grad()
    def _add_alone(
        self, targets: list[tuple[WeightTarget, torch.Tensor]], scale: torch.Tensor | None, maximized: set[int]
    ) -> None:
        for target, own_gradient in targets:
            gradient = penalty_gradient(target)
            if scale is not None:
                gradient = _scaled(target, gradient, scale)
            if id(target.tensor()) in maximized:
                own_gradient.sub_(gradient)
            else:
                own_gradient.add_(gradient)

    def add_ahead(self) -> None:
        """The same, remembered until the next step."""
        self.forget()
        self.add()
        found = {id(tensor): tensor.grad for tensor in (target.tensor() for target in self._paying())}
        self.added = {key: weakref.ref(gradient) for key, gradient in found.items() if gradient is not None}

    def _plan(self) -> Any:
        # Whether it still holds was asked when the targets were shared out, right before.
        return self.penalties.plan or self.penalties.current()

    def _maximized(self) -> set[int]:
        """The identities of the parameters along whose gradients the optimizer goes up."""
        found: set[int] = set()
        for group in self.optimizer.param_groups:
            if group.get("maximize"):
                found.update(map(id, group["params"]))
        return found

    def _paying(self) -> list[WeightTarget]:
        """The targets whose penalties have gradients, each parameter once."""
        plan = self._plan()
        found = [target for group in plan.groups for target in group.targets]
        seen: dict[int, WeightTarget] = {}
        for target in [*found, *plan.others]:
            seen.setdefault(id(target.tensor()), target)
        return list(seen.values())

    def _has(self, target: WeightTarget) -> bool:
        """Whether the parameter's gradient has the penalty's in it already."""
        parameter = target.tensor()
        if id(parameter) not in self.added or parameter.grad is None:
            return False
        if self.added[id(parameter)]() is parameter.grad:
            return True
        raise BindError(
            f"{target.name}: after backward(), its gradient was replaced by another tensor, so it cannot be told "
            "whether the penalty's is in it; change gradients in place, and begin anew with optimizer.zero_grad()"
        )


def _grads(group: Group) -> list[torch.Tensor]:
    """The gradients of the parameters of a group."""
    found = list(map(_gradient_of, group.weights))
    if _TENSOR.issuperset(map(type, found)) and _STRIDED.issuperset(map(_layout, found)):
        return found
    return [_grad(target, weight) for target, weight in zip(group.targets, group.weights, strict=True)]


def _grad(target: WeightTarget, parameter: torch.Tensor) -> torch.Tensor:
    """The gradient of the parameter of a target; zeros where the loss gave none."""
    if not isinstance(parameter, nn.Parameter):
        raise BindError(f"{target.name}: the module holds no parameter here any more, so no gradient can be added")
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    if parameter.grad.layout != torch.strided:
        raise BindError(
            f"{target.name}: its gradient is sparse ({parameter.grad.layout}); use loss() instead of bind()"
        )
    return parameter.grad


def _scaled(target: WeightTarget, gradient: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    if gradient.dtype == torch.float16:
        # The scaler has looked for infinite gradients already, so that one more would reach the weights.
        raise BindError(
            f"{target.name}: its float16 gradient is still scaled by a GradScaler, and the penalty's could overflow in "
            "it; keep the weights in float32, under autocast"
        )
    return gradient * scale
