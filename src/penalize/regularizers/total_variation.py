"""TotalVariation: the differences of neighbours along an axis."""

from __future__ import annotations

from typing import Any

import torch

from penalize.errors import ArgumentError, ShapeError
from penalize.registry import built_in
from penalize.regularizers.arrays import namespace, no_terms, widen
from penalize.regularizers.base import Regularizer
from penalize.regularizers.groups import is_integer
from penalize.regularizers.strength import StrengthAttribute, is_zero, strength_number, times

__all__ = ["TotalVariation"]


@built_in("regularizer", module="penalize.regularizers", names=["total_variation"])
class TotalVariation(Regularizer):
    """`strength * sum(abs(x[i + 1] - x[i]))` along an axis: neighbours are pulled to the same value (fused lasso).

    Takes a tensor that has the axis (also NumPy and JAX arrays); returns a scalar, float32 for half precision. It has a
    closed-form gradient, to which equal neighbours add 0. No proximal step: give several axes one regularizer each.

    Parameters: `strength`, default 0.01 (also for `None`); `axis`, an integer, default -1.

    Raises `StrengthError` for a bad strength, `ArgumentError` for an axis that is no integer, `ShapeError` for a tensor
    without it, `ArrayError` for values that are not real floating-point numbers. Source: Rudin, Osher and Fatemi,
    Nonlinear total variation based noise removal algorithms, 1992; Tibshirani and others, Sparsity and smoothness via
    the fused lasso, 2005.

    >>> import torch
    >>> TotalVariation(0.1)(torch.tensor([[1., 3., 2.], [5., 5., 5.]]))
    tensor(0.3000)
    """

    convex = True
    strength = StrengthAttribute(default=0.01)

    def __init__(self, strength: Any = 0.01, axis: int = -1) -> None:
        self.strength = strength
        if not is_integer(axis):
            raise ArgumentError(f"axis must be an integer, got {axis!r:.80}")
        self.axis = int(axis)

    def __call__(self, x: Any) -> Any:
        lines = self._lines(widen(x, "TotalVariation"))
        if is_zero(self.strength):
            return no_terms(lines)
        xp = namespace(x)
        return times(self.strength, xp.sum(xp.abs(lines[..., 1:] - lines[..., :-1])))

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        lines = self._lines(x)
        found = torch.zeros_like(x)
        slopes = torch.sign(lines[..., 1:] - lines[..., :-1]) * self.strength
        self._lines(found)[..., 1:] += slopes
        self._lines(found)[..., :-1] -= slopes
        return found

    def _lines(self, x: Any) -> Any:
        """x with the axis as the last one."""
        if not -x.ndim <= self.axis < x.ndim:
            raise ShapeError(
                f"TotalVariation takes a tensor that has the axis {self.axis}, got rank {x.ndim}, "
                f"shape {tuple(x.shape)}"
            )
        return namespace(x).moveaxis(x, self.axis, -1)

    def get_config(self) -> dict[str, Any]:
        return {"strength": strength_number(self.strength), "axis": self.axis}
