"""LInf: the largest absolute value, of a tensor or of each of its groups."""

from __future__ import annotations

from typing import Any

import torch

from penalize.registry import built_in
from penalize.regularizers.arrays import namespace, no_terms, widen
from penalize.regularizers.base import Regularizer
from penalize.regularizers.groups import Groups
from penalize.regularizers.steps import step_of_each
from penalize.regularizers.strength import StrengthAttribute, is_zero, strength_number, times

__all__ = ["LInf"]


@built_in("regularizer", module="penalize.regularizers", names=["linf", "l_inf"])
class LInf(Regularizer):
    """`strength * max(abs(x))`, or with an `axis` the sum of that over groups: large weights are cut to one height.

    Takes a tensor of any shape that has the axis (also NumPy and JAX arrays); returns a scalar, float32 for half
    precision. Where several elements are the largest, they share the gradient; it is 0 in a group of zeros. Its
    proximal step, exact for one `step` and for one of each element, cuts absolute values at the height t for which
    `sum(max(abs(x) - t, 0) / step) = strength`, and gives zeros where `sum(abs(x) / step) <= strength`.

    Parameters: `strength`, default 0.01 (also for `None`); `axis`, default None: the whole tensor is one group; else
    an integer or a tuple of them, one group for each index along these axes, as in `GroupLasso`.

    Raises `StrengthError` for a bad strength, `ArgumentError` for a bad axis, `ShapeError` for a tensor without it,
    `ArrayError` for values that are not real floating-point numbers. Source: Parikh and Boyd, Proximal Algorithms,
    2014, 6.5.2; groups: Quattoni, Carreras, Collins and Darrell, An efficient projection for l1,infinity
    regularization, 2009.

    >>> import torch
    >>> weight = torch.tensor([[1., -3.], [2., 0.]])
    >>> LInf(0.1)(weight)
    tensor(0.3000)
    >>> LInf(0.1, axis=0)(weight)
    tensor(0.5000)
    >>> LInf(1.5).prox(weight, 1.0)
    tensor([[ 1.0000, -1.7500],
            [ 1.7500,  0.0000]])
    """

    convex = True
    strength = StrengthAttribute(default=0.01)

    def __init__(self, strength: Any = 0.01, axis: Any = None) -> None:
        self.strength = strength
        self._groups = Groups(axis)

    @property
    def axis(self) -> int | tuple[int, ...] | None:
        """The axis, or axes, that index the groups; None: all elements are one group."""
        return self._groups.axis

    def __call__(self, x: Any) -> Any:
        rows = self._groups.rows(widen(x, "LInf"), "LInf")
        if is_zero(self.strength) or 0 in rows.shape:
            return no_terms(rows)
        xp = namespace(rows)
        return times(self.strength, xp.sum(xp.amax(xp.abs(rows), 1)))

    def prox(self, x: torch.Tensor, step: float | torch.Tensor) -> torch.Tensor:
        rows = self._groups.rows(widen(x, "LInf"), "LInf")
        if is_zero(self.strength) or 0 in rows.shape:
            return x
        steps = self._groups.rows(widen(step_of_each(x, step, "LInf"), "LInf"), "LInf")
        height = _heights(rows.abs().double(), steps.double(), self.strength).to(rows.dtype)
        found: torch.Tensor = self._groups.tensor(torch.clamp(rows, -height, height), x, "LInf")
        return found.to(x.dtype)

    def get_config(self) -> dict[str, Any]:
        axis = list(self.axis) if isinstance(self.axis, tuple) else self.axis
        return {"strength": strength_number(self.strength), "axis": axis}


def _heights(z: torch.Tensor, step: torch.Tensor, strength: float | torch.Tensor) -> torch.Tensor:
    """The height that each row z >= 0 is cut at, as a column.

    sum(max(z - t, 0) / step) is the largest, over k, of the sums over the k largest elements without the max: so t is
    the largest of the k heights at which these are `strength`. Elements with a step of 0 stay: t is not below them.
    """
    z, order = z.sort(1, descending=True)
    step = step.gather(1, order)
    moves = step > 0
    least = torch.where(moves, step, torch.inf).amin(1, keepdim=True)
    # Divided by the largest inverse step, so that no inverse overflows.
    share = torch.where(moves, least / torch.where(moves, step, torch.ones_like(step)), torch.zeros_like(step))
    counted = share.cumsum(1)
    heights = ((share * z).cumsum(1) - strength * least) / torch.where(counted > 0, counted, torch.ones_like(counted))
    heights = torch.where(counted > 0, heights, torch.zeros_like(heights)).amax(1, keepdim=True)
    fixed = torch.where(moves, torch.zeros_like(z), z).amax(1, keepdim=True)
    return torch.maximum(heights, fixed).clamp(min=0)
