"""Which penalties of a model act by proximal steps, which by gradients in closed form, and which by autograd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from penalize.binding import Penalties
from penalize.placement import Target, WeightTarget
from penalize.regularizers.base import has_diagonal_prox
from penalize.regularizers.norms import strengths_of

__all__ = ["Elementwise", "Paid", "paid_by", "proximal_targets"]


class Elementwise(NamedTuple):
    """The factors of absolutes and of squares in an elementwise penalty, one a model; None for 0."""

    of_absolutes: torch.Tensor | None
    of_squares: torch.Tensor | None


@dataclass(frozen=True)
class Paid:
    """By the names of parameters: strengths of L1 and L2 whose gradients are added (`closed`), or that take proximal
    steps (`shrunk`), and other targets that take proximal steps (`proximal`). `by_autograd` is whether any is left;
    `elsewhere` are the targets that are not.
    """

    closed: dict[str, tuple[float, float]]
    shrunk: dict[str, tuple[float, float]]
    proximal: dict[str, WeightTarget]
    by_autograd: bool
    elsewhere: frozenset[str]


def paid_by(model: nn.Module, penalties: Penalties, proximal: bool) -> Paid:
    """The penalties of a model, sorted by how they act."""
    taking = proximal_targets(model, penalties) if proximal else {}
    closed: dict[str, tuple[float, float]] = {}
    shrunk: dict[str, tuple[float, float]] = {}
    general: dict[str, WeightTarget] = {}
    elsewhere = set()
    for name, target in _plain_targets(model, penalties).items():
        pair = strengths_of(target.regularizer)
        if pair is None and name not in taking:
            continue
        elsewhere.add(target.name)
        if pair is None:
            general[name] = target
        elif name in taking:
            shrunk[name] = pair
        else:
            closed[name] = pair
    left = [target for name, target in penalties.items() if name not in elsewhere and _pays(target)]
    return Paid(closed, shrunk, general, bool(left), frozenset(elsewhere))


def _pays(target: Target) -> bool:
    return target.regularizer is not None and not (isinstance(target, WeightTarget) and target.frozen)


def proximal_targets(model: nn.Module, penalties: Penalties) -> dict[str, WeightTarget]:
    """The penalties of weights that have a proximal step, by the parameter's name in the model."""
    targets = _plain_targets(model, penalties)
    return {name: target for name, target in targets.items() if has_diagonal_prox(target.regularizer)}


def _plain_targets(model: nn.Module, penalties: Penalties) -> dict[str, WeightTarget]:
    # A weight that is computed from others is no parameter itself.
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    targets = [target for target in penalties.values() if isinstance(target, WeightTarget) and not target.frozen]
    return {names[id(target.tensor())]: target for target in targets if id(target.tensor()) in names}
