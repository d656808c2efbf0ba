"""The fast evaluator: the elementwise penalties of many weights together, value and gradient in closed form.

It is held to the plain one (`reference.py`), which computes whatever is left: other regularizers, strengths that are
tensors, weights that are no plain parameters (sharded, parametrized, swapped in by `torch.func`), and all of it inside
a graph that `torch.compile` or `torch.export` makes.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import torch
from torch import nn

from penalize.evaluation.elementwise import Strengthened
from penalize.evaluation.native import Places
from penalize.evaluation.reference import weight_losses
from penalize.placement import WeightTarget
from penalize.regularizers.norms import strengths_of

__all__ = ["Group", "Plan", "WeightPenalties"]

# Python's own loops over these are fast also where their code is cold, as it is in the middle of a training step.
_regularizer, _is_frozen = map(operator.attrgetter, ("regularizer", "frozen"))
_kind = operator.attrgetter("requires_grad", "dtype", "device")

DTYPES = frozenset((torch.float64, torch.float32, torch.float16, torch.bfloat16))
"""Those of which torch can compute sums of many tensors at once."""


class WeightPenalties:
    """The penalties of some weight targets, planned once and again whenever one of them changed."""

    def __init__(self, targets: Iterable[WeightTarget]) -> None:
        self.targets = list(targets)
        self.plan: Plan | None = None

    def values(self) -> list[torch.Tensor]:
        """Differentiable scalars whose sum is the sum of all penalties."""
        if torch.compiler.is_compiling():
            return [value for _, value in weight_losses(self.targets)]
        plan = self.current()
        try:
            values = [_Sum.apply(group, *group.weights) for group in plan.groups]  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            # Inside the transforms of `torch.func`.
            if "functorch" not in str(error):
                raise
            return [value for _, value in weight_losses(self.targets)]
        return [*values, *(value for _, value in weight_losses(plan.others))] if plan.others else values

    def pays(self) -> bool:
        """Whether any weight had a penalty, be it 0, when this was last planned."""
        return (self.plan or self.current()).pays

    def current(self) -> Plan:
        """The plan, made anew if a weight, a regularizer or a strength is another one than before."""
        if self.plan is None or not self.plan.holds():
            self.plan = Plan(self.targets)
        return self.plan

    def __getstate__(self) -> dict[str, Any]:
        # A copy plans for the copied targets.
        return {**self.__dict__, "plan": None}


class Group:
    """Weights of one device and dtype, all contiguous or none, with their strengths of absolutes and of squares."""

    def __init__(self, members: list[tuple[WeightTarget, tuple[float, float]]]) -> None:
        self.targets = [target for target, _ in members]
        self.weights = [target.tensor() for target in self.targets]
        l1, l2 = zip(*(strengths for _, strengths in members), strict=True)
        self.evaluator = Strengthened(l1, l2, self.weights)


class Plan:
    """Which targets are computed together, and what that was decided on."""

    def __init__(self, targets: Sequence[WeightTarget]) -> None:
        self.declarations = [target.declaration for target in targets]
        self.regularizers = [declaration.regularizer for declaration in self.declarations]
        self.tables = [target.module._parameters for target in targets]
        self.attributes = [declaration.attribute for declaration in self.declarations]
        self.held = list(map(dict.get, self.tables, self.attributes))
        fused = {id(each): each for each in self.regularizers if strengths_of(each) is not None}
        self.settings = [vars(each) for each in fused.values()]
        self.strengths = list(chain.from_iterable(map(dict.values, self.settings)))
        self.others: list[WeightTarget] = []
        self.pays = False
        """Whether a weight has a penalty, be it of strength 0."""
        together: dict[Any, list[tuple[WeightTarget, tuple[float, float]]]] = {}
        known: set[int] = set()
        for target, regularizer, held in zip(targets, self.regularizers, self.held, strict=True):
            if regularizer is None:
                continue
            # What `fully_shard` put in the place of a sharded parameter is not what is penalized.
            tensor = None if held is None else target.tensor()
            strengths = strengths_of(regularizer)
            if target.frozen or id(tensor) in known:
                continue
            self.pays = True
            if tensor is None or strengths is None or not _is_plain(tensor):
                known |= {id(tensor)} if tensor is not None else set()
                self.others.append(target)
                continue
            known.add(id(tensor))
            if not any(strengths):
                continue
            kind = tensor.device, tensor.dtype, tensor.is_contiguous()
            together.setdefault(kind, []).append((target, strengths))
        self.groups = [Group(members) for members in together.values()]
        paying = zip(targets, self.regularizers, self.held, strict=True)
        self.computed = [target for target, regularizer, held in paying if regularizer is not None and held is None]
        self.frozen = list(map(_is_frozen, self.computed))
        groups = [group.weights for group in self.groups if group.evaluator.memory is not None]
        self.in_memory = [weight for weights in groups for weight in weights]
        self.places = Places(self.in_memory)
        known = set(map(id, self.in_memory))
        self.elsewhere = [held for held in self.held if held is not None and id(held) not in known]
        self.kinds = list(map(_kind, self.elsewhere))

    def holds(self) -> bool:
        """Whether nothing changed that the plan was made on."""
        return (
            all(map(operator.is_, map(_regularizer, self.declarations), self.regularizers))
            and all(map(operator.is_, map(dict.get, self.tables, self.attributes), self.held))
            and all(map(operator.is_, chain.from_iterable(map(dict.values, self.settings)), self.strengths))
            # A module that is moved or cast keeps its parameters, and changes what they hold.
            and self.places.hold(self.in_memory)
            and (not self.elsewhere or list(map(_kind, self.elsewhere)) == self.kinds)
            and (not self.computed or list(map(_is_frozen, self.computed)) == self.frozen)
        )


def _is_plain(tensor: torch.Tensor) -> bool:
    plain = type(tensor) is nn.Parameter and tensor.layout == torch.strided and not tensor.is_meta
    return plain and tensor.dtype in DTYPES


class _Sum(torch.autograd.Function):
    """The sum of the penalties of one group, as one node."""

    @staticmethod
    def forward(ctx: Any, group: Group, *weights: torch.Tensor) -> torch.Tensor:
        ctx.evaluator = group.evaluator
        ctx.save_for_backward(*weights)
        value, ctx.gradients = group.evaluator.forward(weights, with_gradients=any(ctx.needs_input_grad))
        return value

    @staticmethod
    def backward(ctx: Any, factor: torch.Tensor) -> Any:
        weights = ctx.saved_tensors
        # With grad mode on, asked for derivatives of this gradient.
        number = None if torch.is_grad_enabled() else _number(factor)
        if number is None:
            return None, *(
                (torch.sign(w) * l1 + w * (2 * l2)) * factor.to(w.dtype)
                for w, l1, l2 in zip(weights, ctx.evaluator.l1, ctx.evaluator.l2, strict=True)
            )
        # Given away once: whoever takes them may change them.
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None or number != 1.0:
            gradients = ctx.evaluator.gradients(weights, factor)
        return None, *gradients


def _number(factor: torch.Tensor) -> float | None:
    """A factor; None where it is many at once, as in `torch.autograd.grad(..., is_grads_batched=True)`."""
    try:
        return float(factor)
    except RuntimeError:
        return None
