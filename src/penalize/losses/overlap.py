"""Losses of the overlap of two masks: Dice and Tversky. Source: Keras 3.15.1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from penalize.losses.arrays import EPSILON, float_pair
from penalize.losses.base import DEFAULT_REDUCTION, FunctionLoss
from penalize.registry import built_in

__all__ = ["Dice", "Tversky", "dice", "tversky"]

Axis = int | Sequence[int] | None


def _sum(values: torch.Tensor, axis: Axis) -> torch.Tensor:
    if axis is None:
        return values.sum()
    return values.sum(axis if isinstance(axis, int) else tuple(axis))


@built_in("loss", module="keras.losses")
def dice(y_true: Any, y_pred: Any, axis: Axis = None) -> torch.Tensor:
    """`1 - (2 sum(y p) + 1e-7) / (sum(y) + sum(p) + 1e-7)` over `axis`, by default over everything."""
    target, predicted = float_pair(y_true, y_pred, "dice")
    overlap = _sum(target * predicted, axis)
    return 1.0 - (2.0 * overlap + EPSILON) / (_sum(target, axis) + _sum(predicted, axis) + EPSILON)


@built_in("loss", module="keras.losses")
def tversky(y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Axis = None) -> torch.Tensor:
    """`1 - (t + 1e-7) / (t + alpha sum(y (1 - p)) + beta sum((1 - y) p) + 1e-7)`, t = sum(y p), over `axis`.

    `alpha` weighs what is missed and `beta` what is predicted wrongly, as Keras 3.15.1 computes it; its page has the
    two the other way round, as Salehi et al., 2017.
    """
    target, predicted = float_pair(y_true, y_pred, "tversky")
    overlap = _sum(target * predicted, axis)
    wrong = _sum((1.0 - target) * predicted, axis)
    missed = _sum(target * (1.0 - predicted), axis)
    return 1.0 - (overlap + EPSILON) / (overlap + alpha * missed + beta * wrong + EPSILON)


@built_in("loss", module="keras.losses")
class Dice(FunctionLoss):
    """`dice` with Keras's arguments."""

    function = staticmethod(dice)

    def __init__(
        self,
        reduction: str | None = DEFAULT_REDUCTION,
        name: str | None = None,
        axis: Axis = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype, axis=axis)


@built_in("loss", module="keras.losses")
class Tversky(FunctionLoss):
    """`tversky` with Keras's arguments."""

    function = staticmethod(tversky)

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = DEFAULT_REDUCTION,
        name: str | None = None,
        axis: Axis = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype, alpha=alpha, beta=beta, axis=axis)
