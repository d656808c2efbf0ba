"""Regularizers of matrices: what they have in common, and singular values."""

from __future__ import annotations

import math
from typing import Any

import torch

from penalize.errors import ArgumentError, ShapeError
from penalize.regularizers.arrays import namespace, widen
from penalize.regularizers.base import Regularizer
from penalize.regularizers.strength import StrengthAttribute, is_zero, strength_number

__all__ = ["MatrixRegularizer", "above_rounding", "as_flatten", "as_matrix", "scale_singular_values", "singular_values"]


class MatrixRegularizer(Regularizer):
    """A strength times a function of a matrix; with `flatten`, of higher ranks as (everything, last axis), too."""

    strength = StrengthAttribute(default=0.01)

    def __init__(self, strength: Any = 0.01, flatten: bool = False) -> None:
        self.strength = strength
        self.flatten = as_flatten(flatten)

    def matrix(self, x: Any) -> Any:
        """The matrix, in the dtype that it is summed in. Raises `ShapeError` for ranks that are not taken."""
        return as_matrix(x, self.flatten, type(self).__name__)

    def counts_nothing(self, matrix: Any) -> bool:
        """Whether there is nothing to sum, or nothing to pay for it."""
        return is_zero(self.strength) or 0 in matrix.shape

    def get_config(self) -> dict[str, Any]:
        return {"strength": strength_number(self.strength), "flatten": self.flatten}


def as_flatten(flatten: Any) -> bool:
    """The argument `flatten`, which must be True or False."""
    if not isinstance(flatten, bool):
        raise ArgumentError(f"flatten must be True or False, got {flatten!r:.80}")
    return flatten


def as_matrix(x: Any, flatten: bool, regularizer: str) -> Any:
    """A matrix in the dtype that it is summed in; with `flatten`, of any rank above 1: (everything, last axis).

    Raises `ShapeError` for other ranks.
    """
    xp = namespace(x)
    if x.ndim < 2 or (x.ndim > 2 and not flatten):
        hint = "; flatten=True takes it as the matrix (everything, last axis)" if x.ndim > 2 else ""
        raise ShapeError(f"{regularizer} takes a matrix (rank 2), got rank {x.ndim}, shape {tuple(x.shape)}{hint}")
    wide = widen(x, regularizer)
    return wide if x.ndim == 2 else xp.reshape(wide, (math.prod(x.shape[:-1]), x.shape[-1]))


def singular_values(matrix: Any) -> Any:
    """The singular values of a matrix, the largest first; those that are 0 up to rounding have no gradient."""
    xp = namespace(matrix)
    values = xp.linalg.svdvals(matrix)
    return xp.where(above_rounding(values, matrix.shape), values, xp.zeros_like(values))


def scale_singular_values(matrix: torch.Tensor, change: Any) -> torch.Tensor:
    """The matrix with `change(values)` in the place of its singular values."""
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    found: torch.Tensor = (left * change(values)) @ right
    return found


def above_rounding(values: Any, shape: tuple[int, ...]) -> Any:
    """Which singular values of a matrix of this shape are not 0 up to rounding."""
    return values > values[0] * (max(shape) * float(namespace(values).finfo(values.dtype).eps))
