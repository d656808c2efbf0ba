"""The plain evaluator: every penalty by its own regularizer, one after the other. Faster ones are held to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import nn

from penalize.errors import TargetError
from penalize.placement import ActivityTarget, WeightTarget
from penalize.regularizers.base import needs_start
from penalize.regularizers.penalty import penalties

__all__ = ["activity_losses", "total", "weight_losses"]

NamedLoss = tuple[str, torch.Tensor]


def weight_losses(targets: Iterable[WeightTarget]) -> list[NamedLoss]:
    """The penalty of each weight that is not frozen, in the order given; a weight given twice counts once."""
    asked = []
    seen = set()
    for target in targets:
        if target.regularizer is None or target.frozen:
            continue
        tensor = target.tensor()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        if needs_start(target.regularizer) and isinstance(tensor, nn.Parameter):
            target.regularizer = target.regularizer  # places it on the weight as it is now
        asked.append((target.regularizer, target.as_taken_by(target.regularizer, tensor), target.name))
    return [(name, value) for (_, _, name), value in zip(asked, penalties(asked), strict=True)]


def activity_losses(targets: Iterable[ActivityTarget]) -> list[NamedLoss]:
    """The penalties that the last outermost call recorded, in call order: one for each output of each call.

    TargetError, while gradients are asked for, for penalties that have none although the output has one.
    """
    targets = list(targets)
    for target in targets:
        if target.without_gradient and torch.is_grad_enabled():
            raise TargetError(
                f"{target.name or 'the model'}: its penalty has no gradient, as it was computed without one, by "
                "checkpoint(use_reentrant=True) or another torch.autograd.Function: checkpoint with "
                "use_reentrant=False; or ask for value() under torch.no_grad()"
            )
    entries = [(position, target.name, value) for target in targets for position, value in target.entries]
    return [(name, value) for _, name, value in sorted(entries, key=lambda entry: entry[0])]


def total(values: Sequence[torch.Tensor], device: Callable[[], torch.device]) -> torch.Tensor:
    """The sum of scalars on one device, which is only asked for where there is a choice; 0 in float32 for none."""
    if not values:
        return torch.zeros((), device=device())
    if any(value.device != values[0].device for value in values[1:]):
        values = [value.to(device()) for value in values]
    result = values[0]
    for value in values[1:]:
        result = result + value
    return result
