"""GroupLasso and SparseGroupLasso: the lengths of groups of weights, which become zero together."""

from __future__ import annotations

import math
from typing import Any

import torch

from penalize.arguments import choice, number
from penalize.registry import built_in
from penalize.regularizers.arrays import namespace, no_terms, widen
from penalize.regularizers.base import Regularizer
from penalize.regularizers.group_prox import shrink_groups
from penalize.regularizers.groups import Groups, lengths
from penalize.regularizers.norms import soft_threshold
from penalize.regularizers.steps import steps_like
from penalize.regularizers.strength import Strength, StrengthAttribute, is_zero, strength_number, times

__all__ = ["GroupLasso", "SparseGroupLasso"]

SCALES = ("none", "group_size")


class _Grouped(Regularizer):
    """What both have: the strength, how an axis is cut into groups, and whether larger groups pay more."""

    convex = True
    strength = StrengthAttribute(default=0.01)

    def __init__(self, strength: Any, axis: Any, groups: Any, scale_reg: str) -> None:
        self.strength = strength
        self._groups = Groups(axis, groups)
        self.scale_reg = choice("scale_reg", scale_reg, SCALES)

    @property
    def axis(self) -> int | tuple[int, ...] | None:
        """The axis, or axes, that index the groups; None: all elements are one group."""
        return self._groups.axis

    @property
    def groups(self) -> int | None:
        """Into how many groups of consecutive indices the axis is cut; None: one for each index."""
        return self._groups.blocks

    def _rows(self, x: Any) -> Any:
        """The groups of `x` as rows, in the dtype that they are summed in."""
        name = type(self).__name__
        return self._groups.rows(widen(x, name), name)

    def _back(self, rows: Any, like: torch.Tensor) -> torch.Tensor:
        tensor: torch.Tensor = self._groups.tensor(rows, like, type(self).__name__)
        return tensor.to(like.dtype)

    def _weight(self, rows: Any) -> float:
        """The factor of each group's length, beside the strength."""
        return math.sqrt(rows.shape[1]) if self.scale_reg == "group_size" else 1.0

    def _sum_of_lengths(self, rows: Any, share: float) -> Any:
        if is_zero(self.strength) or not share or 0 in rows.shape:
            return no_terms(rows)
        return times(self.strength, namespace(rows).sum(lengths(rows)) * (share * self._weight(rows)))

    def _gradient_of_lengths(self, rows: torch.Tensor, share: float) -> torch.Tensor:
        if is_zero(self.strength) or not share or 0 in rows.shape:
            return torch.zeros_like(rows)
        length = lengths(rows)[:, None]
        units = rows / torch.where(length == 0, torch.ones_like(length), length)
        return units * (self.strength * (share * self._weight(rows)))

    def _shrunk(self, rows: torch.Tensor, step: float | torch.Tensor, share: float) -> torch.Tensor:
        if is_zero(self.strength) or not share or 0 in rows.shape:
            return rows
        return shrink_groups(rows, step, self.strength * (share * self._weight(rows)))

    def _steps(self, x: torch.Tensor, step: float | torch.Tensor) -> float | torch.Tensor:
        """The step for the rows of x."""
        given = steps_like(x, step, type(self).__name__)
        return self._rows(given) if isinstance(given, torch.Tensor) and given.ndim else given

    def _grouping(self) -> dict[str, Any]:
        axis = list(self.axis) if isinstance(self.axis, tuple) else self.axis
        return {"axis": axis, "groups": self.groups, "scale_reg": self.scale_reg}


@built_in("regularizer", module="penalize.regularizers", names=["group_lasso"])
class GroupLasso(_Grouped):
    """The group lasso's penalty, `strength * sum over groups of ||group||_2`: whole groups become zero together.

    `axis` says which groups: one for each index along it, which holds all that the other axes run over.

    | weight | axis | a group is |
    |---|---|---|
    | `nn.Linear.weight` (out, in) | 0 | a unit: all that comes into it |
    | | 1 | an input: all that goes out of it |
    | `nn.Conv2d.weight` (out, in, height, width) | 0 | a filter |
    | | (0, 1) | a kernel of one filter for one channel |
    | kernel of a penalize layer (Keras's layout: in, out) | -1 | a unit or filter |
    | | 0 | an input of a Dense layer |
    | projection of 8 heads (heads * size, in) | 0, `groups=8` | a whole head |
    | anything | None | the tensor |

    Takes a tensor that has these axes (also NumPy and JAX arrays); returns a scalar, float32 for half precision. Its
    gradient in a group is `strength * x / ||x||`, 0 in a zero group. Its proximal step is exact for one `step` and for
    one of each element: then a group becomes zero iff `||x / step|| <= strength`.

    Parameters: `strength`, default 0.01 (also for `None`); `axis`, an integer, a tuple of them (a group for each
    combination of their indices) or None, default 0; `groups`, default None: the number of groups of consecutive
    indices that a single axis is cut into, which must divide it; `scale_reg`, "none" (default), or "group_size", by
    which the strength is multiplied by the square root of the number of elements in a group, as Yuan and Lin do.

    Raises `StrengthError` for a bad strength, `ArgumentError` for another bad argument, `ShapeError` for a tensor
    without these axes or groups, `ArrayError` for values that are not real floating-point numbers. Source: Yuan and
    Lin, Model selection and estimation in regression with grouped variables, 2006; proximal step with a step of each
    element: Yun, Lozano and Yang, Adaptive proximal gradient methods for structured neural networks, 2021.

    >>> import torch
    >>> weight = torch.tensor([[3., 4.], [0.5, 0.]])
    >>> GroupLasso(0.1)(weight)
    tensor(0.5500)
    >>> GroupLasso(1.0).prox(weight, 1.0)
    tensor([[2.4000, 3.2000],
            [0.0000, 0.0000]])
    """

    def __init__(self, strength: Any = 0.01, axis: Any = 0, groups: int | None = None, scale_reg: str = "none") -> None:
        super().__init__(strength, axis, groups, scale_reg)

    def __call__(self, x: Any) -> Any:
        return self._sum_of_lengths(self._rows(x), 1.0)

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        return self._back(self._gradient_of_lengths(self._rows(x), 1.0), x)

    def prox(self, x: torch.Tensor, step: float | torch.Tensor) -> torch.Tensor:
        return self._back(self._shrunk(self._rows(x), self._steps(x, step), 1.0), x)

    def get_config(self) -> dict[str, Any]:
        return {"strength": strength_number(self.strength), **self._grouping()}


@built_in("regularizer", module="penalize.regularizers", names=["sparse_group_lasso"])
class SparseGroupLasso(_Grouped):
    """`strength * (l1_ratio * sum(abs(x)) + (1 - l1_ratio) * sum over groups of ||group||_2)`.

    Groups become zero, and single elements in those that stay. `l1_ratio` 0 is `GroupLasso`, 1 is `L1`.

    Takes a tensor that has the axes (also NumPy and JAX arrays); returns a scalar, float32 for half precision. It has a
    closed-form gradient. Its proximal step, exact for one `step` and for one of each element, is that of the
    group lasso after the soft threshold.

    Parameters: `strength`, default 0.01 (also for `None`); `l1_ratio`, from 0 to 1, default 0.5, which is the alpha of
    the paper and scikit-learn's `l1_ratio`; `axis`, `groups` and `scale_reg` as in `GroupLasso`, by default 0, None and
    "none".

    Raises what `GroupLasso` raises, and `ArgumentError` for an `l1_ratio` that is no number from 0 to 1. Source: Simon,
    Friedman, Hastie and Tibshirani, A sparse-group lasso, 2013 (there with `scale_reg="group_size"`).

    >>> import torch
    >>> weight = torch.tensor([[3., 4.], [0.5, 0.]])
    >>> SparseGroupLasso(0.1, l1_ratio=0.5)(weight)
    tensor(0.6500)
    """

    def __init__(
        self,
        strength: Any = 0.01,
        l1_ratio: Any = 0.5,
        axis: Any = 0,
        groups: int | None = None,
        scale_reg: str = "none",
    ) -> None:
        super().__init__(strength, axis, groups, scale_reg)
        self.l1_ratio = number("l1_ratio", l1_ratio, 0, 1)

    def __call__(self, x: Any) -> Any:
        rows = self._rows(x)
        groups = self._sum_of_lengths(rows, 1 - self.l1_ratio)
        if is_zero(self.strength) or not self.l1_ratio:
            return groups
        xp = namespace(rows)
        return groups + times(self.strength, xp.sum(xp.abs(rows)) * self.l1_ratio)

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        rows = self._rows(x)
        gradient = self._gradient_of_lengths(rows, 1 - self.l1_ratio)
        return self._back(gradient + torch.sign(rows) * self._threshold(), x)

    def prox(self, x: torch.Tensor, step: float | torch.Tensor) -> torch.Tensor:
        steps = self._steps(x, step)
        rows = soft_threshold(self._rows(x), steps * self._threshold())
        return self._back(self._shrunk(rows, steps, 1 - self.l1_ratio), x)

    def _threshold(self) -> Strength:
        return self.strength * self.l1_ratio

    def get_config(self) -> dict[str, Any]:
        return {"strength": strength_number(self.strength), "l1_ratio": self.l1_ratio, **self._grouping()}
