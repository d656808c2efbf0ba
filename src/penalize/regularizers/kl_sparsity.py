"""KLSparsity: units that are active in a small share of a batch, as in a sparse autoencoder."""

from __future__ import annotations

from typing import Any

from penalize.arguments import number
from penalize.errors import ArgumentError
from penalize.registry import built_in
from penalize.regularizers.arrays import namespace, no_terms, widen
from penalize.regularizers.base import Regularizer
from penalize.regularizers.groups import Groups
from penalize.regularizers.strength import StrengthAttribute, is_zero, strength_number, times

__all__ = ["KLSparsity"]

# How near to 0 and 1 an average is taken: the logarithms of both stay finite, in float32 too.
NEAREST = 1e-7


@built_in("regularizer", module="penalize.regularizers", names=["kl_sparsity"])
class KLSparsity(Regularizer):
    """`strength * sum over units of KL(target || average activity)`, for activities between 0 and 1.

    `KL(p || q) = p log(p / q) + (1 - p) log((1 - p) / (1 - q))` of two coins, q the average of a unit over the batch.
    As an activity penalty it is paid as it is: it is a penalty of averages, so that it is not divided by the size of
    the batch.

    Takes a tensor that has the axis (also NumPy and JAX arrays), the output of a sigmoid, say; returns a scalar,
    float32 for half precision. Averages are kept 1e-7 away from 0 and 1; for one below 0 or above 1, as of ReLU or tanh
    outputs, the penalty is not defined, and NaN, which is an error at a layer's first call. No closed-form gradient and
    no proximal step.

    Parameters: `strength`, default 0.01 (also for `None`); `target`, the average wanted, between 0 and 1, default 0.05;
    `axis`, default 0: what an average is taken over, an integer or a tuple of them: (0, 2, 3) for the channels of
    torch's images. Each combination of indices of the other axes is a unit.

    Raises `StrengthError` for a bad strength, `ArgumentError` for a bad target or axis, `ShapeError` for a tensor
    without it, `ArrayError` for values that are not real floating-point numbers. Source: Ng, Sparse autoencoder
    (CS294A lecture notes), 2011.

    >>> import torch
    >>> KLSparsity(1.0, target=0.5)(torch.tensor([[0.1, 0.9], [0.3, 0.1]]))
    tensor(0.2231)
    """

    of_whole_batch = True
    strength = StrengthAttribute(default=0.01)

    def __init__(self, strength: Any = 0.01, target: float = 0.05, axis: Any = 0) -> None:
        self.strength = strength
        self.target = number("target", target, 0, 1, above=True)
        if self.target == 1:
            raise ArgumentError(f"target must be a number between 0 and 1, got {target!r:.80}")
        if axis is None:
            raise ArgumentError("axis must be an integer or a tuple of distinct integers, got None")
        self._averaged = Groups(axis)

    @property
    def axis(self) -> int | tuple[int, ...] | None:
        """The axis, or axes, that averages are taken over."""
        return self._averaged.axis

    def __call__(self, x: Any) -> Any:
        # One row for each example, one column for each unit.
        rows = self._averaged.rows(widen(x, "KLSparsity"), "KLSparsity")
        if is_zero(self.strength) or 0 in rows.shape:
            return no_terms(rows)
        xp = namespace(rows)
        average = xp.mean(rows, 0)
        near = xp.clip(average, NEAREST, 1 - NEAREST)
        average = xp.where((average < 0) | (average > 1), xp.full_like(average, float("nan")), near)
        p = self.target
        # In this form each logarithm is of a number near 1 where the average is near the target.
        terms = -p * xp.log(average / p) - (1 - p) * xp.log((1 - average) / (1 - p))
        return times(self.strength, xp.sum(terms))

    def get_config(self) -> dict[str, Any]:
        axis = list(self.axis) if isinstance(self.axis, tuple) else self.axis
        return {"strength": strength_number(self.strength), "target": self.target, "axis": axis}
