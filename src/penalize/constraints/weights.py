"""What constraints measure of a weight: the norms over some axes, and the checks of what they are given."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch

from penalize.arguments import number
from penalize.errors import ArgumentError, ArrayError, ShapeError

__all__ = ["Axes", "as_axes", "as_real", "as_weight", "rescaled"]

EPSILON = 1e-7
"""Added to a norm before dividing by it, so that a zero weight stays zero. Source: Keras 3.15.1."""

Axes = int | tuple[int, ...] | None


def as_weight(w: Any) -> torch.Tensor:
    """A tensor or array as a floating tensor; integers become float32. ArrayError for anything else."""
    try:
        tensor = torch.as_tensor(w)
    except (TypeError, ValueError, RuntimeError):
        raise ArrayError(f"w must be a tensor or an array, got {type(w).__name__}: {w!r:.80}") from None
    if tensor.is_complex():
        raise ArrayError(f"w must be real, got a tensor of {tensor.dtype}")
    return tensor if tensor.is_floating_point() else tensor.to(torch.float32)


def as_real(argument: str, value: Any, high: float = math.inf) -> float:
    """A finite number in [0, high]; an integer stays one, so that configs are written as they were given."""
    checked = number(argument, value, 0.0, high)
    return int(value) if isinstance(value, numbers.Integral) else checked


def as_axes(value: Any) -> Axes:
    """None, an integer, or a tuple of distinct integers.

    >>> as_axes([0, 1])
    (0, 1)
    >>> as_axes(0.5)
    Traceback (most recent call last):
    ...
    penalize.errors.ArgumentError: axis must be an integer, a tuple of distinct integers or None, got 0.5
    """
    many = isinstance(value, Sequence) and not isinstance(value, str)
    axes = tuple(value) if many else (value,)
    try:
        whole = tuple(operator.index(axis) for axis in axes)
    except TypeError:
        whole = ()
    if value is None:
        return None
    if not whole or len(set(whole)) < len(whole) or any(isinstance(axis, bool) for axis in axes):
        raise ArgumentError(f"axis must be an integer, a tuple of distinct integers or None, got {value!r:.80}")
    return whole if many else whole[0]


def rescaled(w: Any, axis: Axes, wanted: Callable[[torch.Tensor], Any]) -> torch.Tensor:
    """w * wanted(n) / (n + 1e-7), where n are the norms of w over `axis`, which is kept with size 1.

    Computed in float32 at least and returned in w's dtype. ShapeError when w has no such axis.
    """
    weight = as_weight(w)
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    norms: torch.Tensor = torch.linalg.vector_norm(wide, dim=_dimensions(axis, wide.ndim), keepdim=True)
    factors: torch.Tensor = wanted(norms) / (norms + EPSILON)
    return (wide * factors).to(weight.dtype)


def _dimensions(axis: Axes, rank: int) -> tuple[int, ...] | None:
    """The axes as torch takes them; ShapeError for one outside of the rank, or twice the same."""
    if axis is None or rank == 0:
        return None
    axes = axis if isinstance(axis, tuple) else (axis,)
    if not all(-rank <= item < rank for item in axes) or len({item % rank for item in axes}) < len(axes):
        raise ShapeError(f"axis must be among the {rank} axes of w, each once, got axis={axis}")
    return axes
