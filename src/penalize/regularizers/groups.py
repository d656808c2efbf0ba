"""Groups of elements: how an axis cuts a tensor into them, and the length of each."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

from penalize.errors import ArgumentError, ShapeError
from penalize.regularizers.arrays import namespace, stop_gradient

__all__ = ["Groups", "is_integer", "lengths"]


class Groups:
    """The groups of a tensor: one for each index along `axis`, holding everything that the other axes run over.

    `axis` is an axis, a tuple of axes (one group for each combination of their indices), or None (one group in all).
    `blocks` cuts a single axis into that many runs of equal length instead, each a group: heads, for example.
    """

    def __init__(self, axis: Any, blocks: Any = None) -> None:
        self.axis = _axis(axis)
        self.blocks = _blocks(blocks, self.axis)

    def rows(self, x: Any, regularizer: str) -> Any:
        """The matrix whose rows are the groups of `x`; ShapeError when `x` has no such groups."""
        xp = namespace(x)
        axes = self._axes(x, regularizer)
        moved = xp.moveaxis(x, axes, tuple(range(len(axes)))) if axes != tuple(range(len(axes))) else x
        count = math.prod([x.shape[axis] for axis in axes])
        if self.blocks is not None:
            count = self._of_blocks(x, axes[0], regularizer)
        total = math.prod(x.shape)
        return xp.reshape(moved, (count, total // count if total else 0))

    def tensor(self, rows: Any, like: Any, regularizer: str) -> Any:
        """What `rows` made a matrix of, in the shape of `like` again."""
        xp = namespace(rows)
        axes = self._axes(like, regularizer)
        others = [axis for axis in range(like.ndim) if axis not in axes]
        moved = xp.reshape(rows, tuple(like.shape[axis] for axis in (*axes, *others)))
        return xp.moveaxis(moved, tuple(range(len(axes))), axes)

    def _axes(self, x: Any, regularizer: str) -> tuple[int, ...]:
        """The axes as numbers from 0 on."""
        given = () if self.axis is None else (self.axis,) if isinstance(self.axis, int) else self.axis
        where = f"rank {x.ndim}, shape {tuple(x.shape)}"
        if any(not -x.ndim <= axis < x.ndim for axis in given):
            raise ShapeError(f"{regularizer} takes a tensor that has the axis {self.axis}, got {where}")
        axes = tuple(axis % x.ndim for axis in given)
        if len(set(axes)) < len(axes):
            raise ShapeError(f"{regularizer} takes a tensor in which the axes {self.axis} are distinct, got {where}")
        return axes

    def _of_blocks(self, x: Any, axis: int, regularizer: str) -> int:
        count: int = self.blocks or 1
        if x.shape[axis] % count:
            raise ShapeError(
                f"{regularizer} takes a tensor whose axis {self.axis} can be cut into {count} groups of equal size, "
                f"got shape {tuple(x.shape)}"
            )
        return count


def lengths(rows: Any) -> Any:
    """The Euclidean length of each row of a matrix with at least one column; the gradient at a zero row is 0.

    Divided first by the largest absolute value, so that squares neither vanish nor overflow. The length does not
    depend on that value, which is a constant for autograd.
    """
    xp = namespace(rows)
    largest = stop_gradient(xp.amax(xp.abs(rows), 1))
    usable = (largest > 0) & (largest < math.inf)
    scale = xp.where(usable, largest, xp.ones_like(largest))
    squares = xp.sum(xp.square(rows / scale[:, None]), 1)
    return xp.where(largest == 0, xp.zeros_like(scale), scale * xp.sqrt(xp.where(largest == 0, scale, squares)))


def _axis(axis: Any) -> int | tuple[int, ...] | None:
    if axis is None or is_integer(axis):
        return None if axis is None else int(axis)
    if isinstance(axis, Sequence) and not isinstance(axis, str) and axis and all(map(is_integer, axis)):
        axes = tuple(int(each) for each in axis)
        if len(set(axes)) == len(axes):
            return axes
    raise ArgumentError(f"axis must be an integer, a tuple of distinct integers or None, got {axis!r:.80}")


def _blocks(blocks: Any, axis: int | tuple[int, ...] | None) -> int | None:
    if blocks is None:
        return None
    if not is_integer(blocks) or blocks < 1:
        raise ArgumentError(f"groups must be a positive integer or None, got {blocks!r:.80}")
    if not isinstance(axis, int):
        raise ArgumentError(f"groups={blocks!r:.80} cuts a single axis, got axis={axis!r:.80}")
    return int(blocks)


def is_integer(value: Any) -> bool:
    """Whether a value is an integer, of Python or NumPy; a bool is none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
