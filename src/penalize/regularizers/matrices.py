"""Weights as matrices, and their singular values."""

from __future__ import annotations

import math
from typing import Any

import torch

from penalize.errors import ArgumentError, ShapeError
from penalize.regularizers.arrays import namespace, widen

__all__ = ["above_rounding", "as_flatten", "as_matrix", "scale_singular_values", "singular_values"]


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
