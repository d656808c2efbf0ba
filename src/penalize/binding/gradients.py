"""The gradients of weight penalties, and adding them to those of the parameters that one optimizer holds."""

from __future__ import annotations

import operator
import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from penalize.binding.clipping import Clipping
from penalize.errors import BindError
from penalize.evaluation import Group, Plan, WeightPenalties, weight_losses
from penalize.placement import WeightTarget
from penalize.regularizers.base import has_gradient
from penalize.regularizers.distributed import adds_up, by_parts, is_distributed
from penalize.regularizers.penalty import in_autocast, penalty

if TYPE_CHECKING:
    from penalize.binding.proximal import ProximalSteps

__all__ = ["Share", "penalty_gradient"]

# Python's own loops over these are fast also where their code is cold, as it is in the middle of a training step.
_gradient_of = operator.attrgetter("grad")
_maximizes = operator.methodcaller("get", "maximize")


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

    def begin(self) -> None:
        """Begin a new cycle: the optimizer zeroed the gradients."""
        self.added.clear()
        self.clipping.coefficient = 1.0

    @torch.no_grad()
    def values(self) -> list[torch.Tensor]:
        """The penalties, as the optimizer takes them: what it maximizes, they lower."""
        maximized = self._maximized()
        targets = [*self.penalties.targets, *(self.proximal.targets if self.proximal is not None else ())]
        lowered = {target.name for target in targets if id(target.tensor()) in maximized}
        return [-value if name in lowered else value for name, value in weight_losses(targets)]

    def add(self, plan: Plan) -> None:
        """Add the penalties' gradients, as planned, to `.grad` of their parameters, where they are not in it yet.

        What was added ahead is used up then.
        """
        # A GradScaler hands fused optimizers gradients that are still scaled, and the scale beside them.
        scale = vars(self.optimizer).get("grad_scale")
        if self.added or scale is not None or any(map(_maximizes, self.optimizer.param_groups)):
            self._add_alone(_paying(plan), scale, self._maximized())
            self.added.clear()
            return
        # All are looked at before one is changed.
        gradients = list(map(_gradients_of, plan.groups))
        if plan.others:
            self._add_alone(plan.others, None, set())
        for group, (own, addresses) in zip(plan.groups, gradients, strict=True):
            group.evaluator.add_gradients(own, group.weights, addresses)

    @torch.no_grad()
    def _add_alone(self, targets: list[WeightTarget], scale: torch.Tensor | None, maximized: set[int]) -> None:
        without = [(target, _grad(target, target.tensor())) for target in targets if not self._has(target)]
        for target, own_gradient in without:
            gradient = penalty_gradient(target)
            if scale is not None:
                gradient = _scaled(target, gradient, scale)
            if id(target.tensor()) in maximized:
                own_gradient.sub_(gradient)
            else:
                own_gradient.add_(gradient)

    def add_ahead(self, plan: Plan) -> None:
        """The same, remembered until the next step."""
        self.added.clear()
        self.add(plan)
        found = {id(tensor): tensor.grad for tensor in (target.tensor() for target in _paying(plan))}
        self.added = {key: weakref.ref(gradient) for key, gradient in found.items() if gradient is not None}

    def _maximized(self) -> set[int]:
        """The identities of the parameters along whose gradients the optimizer goes up."""
        found: set[int] = set()
        for group in self.optimizer.param_groups:
            if group.get("maximize"):
                found.update(map(id, group["params"]))
        return found

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


def _paying(plan: Plan) -> list[WeightTarget]:
    """The targets whose penalties have gradients, each parameter once."""
    found = [target for group in plan.groups for target in group.targets]
    seen: dict[int, WeightTarget] = {}
    for target in [*found, *plan.others]:
        seen.setdefault(id(target.tensor()), target)
    return list(seen.values())


def _gradients_of(group: Group) -> tuple[list[torch.Tensor], Any]:
    """The gradients of the parameters of a group, and where they lie, if the compiled library can write to them."""
    memory = group.evaluator.memory
    found = list(map(_gradient_of, group.weights))
    addresses = None if memory is None else memory.beside(found)
    if addresses is None:
        found = [_grad(target, weight) for target, weight in zip(group.targets, group.weights, strict=True)]
        addresses = None if memory is None else memory.beside(found)
    return found, addresses


def _grad(target: WeightTarget, parameter: torch.Tensor) -> torch.Tensor:
    """The gradient of the parameter of a target; zeros where the loss gave none."""
    if not isinstance(parameter, nn.Parameter):
        raise BindError(f"{target.name}: the module holds no parameter here any more, so no gradient can be added")
    gradient = parameter.grad
    if gradient is None:
        # Not known to older versions of torch.
        parameter.grad = gradient = torch.zeros_like(parameter, dtype=getattr(parameter, "grad_dtype", None))
    if gradient.layout != torch.strided:
        raise BindError(f"{target.name}: its gradient is sparse ({gradient.layout}); use loss() instead of bind()")
    if type(gradient) is torch.Tensor and (
        gradient.is_inference()
        or gradient.is_neg()
        or gradient._is_zerotensor()
        or not (gradient.is_contiguous() or _is_apart(gradient))
    ):
        # An optimizer can read it, but nothing can be added to it in place.
        parameter.grad = gradient = torch.empty_like(parameter, dtype=gradient.dtype).copy_(gradient.detach())
    return gradient


def _is_apart(tensor: torch.Tensor) -> bool:
    """Whether no two elements of a tensor share their memory, as those of expanded tensors do."""
    reach = 0
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride <= reach:
            return False
        reach += stride * (size - 1)
    return True


def _scaled(target: WeightTarget, gradient: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    if gradient.dtype == torch.float16:
        # The scaler has looked for infinite gradients already, so that one more would reach the weights.
        raise BindError(
            f"{target.name}: its float16 gradient is still scaled by a GradScaler, and the penalty's could overflow in "
            "it; keep the weights in float32, under autocast"
        )
    return gradient * scale
