"""Losses of numbers: squared, absolute, relative and logarithmic errors, Huber, log-cosh and the cosine."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional

from penalize.errors import ArgumentError
from penalize.losses.arrays import EPSILON, float_pair
from penalize.losses.base import DEFAULT_REDUCTION, FunctionLoss
from penalize.registry import built_in

__all__ = [
    "CosineSimilarity",
    "Huber",
    "LogCosh",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "cosine_similarity",
    "huber",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
]

MODULE = "keras.losses"


@built_in("loss", module=MODULE, names=["mse", "MSE"])
def mean_squared_error(y_true: Any, y_pred: Any) -> torch.Tensor:
    """`mean((y_true - y_pred)**2)` over the last axis.

    >>> mean_squared_error([[0.0, 1.0]], [[1.0, 3.0]])
    tensor([2.5000])
    """
    target, predicted = float_pair(y_true, y_pred, "mean_squared_error")
    return (target - predicted).square().mean(-1)


@built_in("loss", module=MODULE, names=["mae", "MAE"])
def mean_absolute_error(y_true: Any, y_pred: Any) -> torch.Tensor:
    """`mean(abs(y_true - y_pred))` over the last axis."""
    target, predicted = float_pair(y_true, y_pred, "mean_absolute_error")
    return (target - predicted).abs().mean(-1)


@built_in("loss", module=MODULE, names=["mape", "MAPE"])
def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> torch.Tensor:
    """`100 mean(abs(y_true - y_pred) / max(abs(y_true), 1e-7))` over the last axis."""
    target, predicted = float_pair(y_true, y_pred, "mean_absolute_percentage_error")
    return 100.0 * ((target - predicted) / target.abs().clamp(min=EPSILON)).abs().mean(-1)


@built_in("loss", module=MODULE, names=["msle", "MSLE"])
def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> torch.Tensor:
    """`mean((log(1 + y_true) - log(1 + y_pred))**2)` over the last axis; values below 1e-7 count as 1e-7."""
    target, predicted = float_pair(y_true, y_pred, "mean_squared_logarithmic_error")
    return (target.clamp(min=EPSILON).log1p() - predicted.clamp(min=EPSILON).log1p()).square().mean(-1)


@built_in("loss", module=MODULE)
def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> torch.Tensor:
    """The mean over the last axis of `d**2 / 2` for d up to delta, then `delta (d - delta / 2)`; d = abs(error)."""
    target, predicted = float_pair(y_true, y_pred, "huber")
    return functional.huber_loss(predicted, target, reduction="none", delta=delta).mean(-1)


@built_in("loss", module=MODULE)
def log_cosh(y_true: Any, y_pred: Any) -> torch.Tensor:
    """`mean(log(cosh(y_pred - y_true)))` over the last axis, without overflow."""
    target, predicted = float_pair(y_true, y_pred, "log_cosh")
    difference = predicted - target
    return (difference + functional.softplus(-2.0 * difference) - math.log(2.0)).mean(-1)


@built_in("loss", module=MODULE)
def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> torch.Tensor:
    """Minus the cosine of the angle between y_true and y_pred along `axis`; 0 for a zero vector."""
    target, predicted = float_pair(y_true, y_pred, "cosine_similarity")
    units = (functional.normalize(target, dim=axis), functional.normalize(predicted, dim=axis))
    return -(units[0] * units[1]).sum(axis)


@built_in("loss", module=MODULE)
class MeanSquaredError(FunctionLoss):
    """`mean((y_true - y_pred)**2)`.

    >>> MeanSquaredError()([[0.0, 1.0]], [[1.0, 3.0]])
    tensor(2.5000)
    """

    function = staticmethod(mean_squared_error)


@built_in("loss", module=MODULE)
class MeanAbsoluteError(FunctionLoss):
    """`mean(abs(y_true - y_pred))`."""

    function = staticmethod(mean_absolute_error)


@built_in("loss", module=MODULE)
class MeanAbsolutePercentageError(FunctionLoss):
    """`100 mean(abs(y_true - y_pred) / max(abs(y_true), 1e-7))`."""

    function = staticmethod(mean_absolute_percentage_error)


@built_in("loss", module=MODULE)
class MeanSquaredLogarithmicError(FunctionLoss):
    """`mean((log(1 + y_true) - log(1 + y_pred))**2)`."""

    function = staticmethod(mean_squared_logarithmic_error)


@built_in("loss", module=MODULE)
class Huber(FunctionLoss):
    """Squared below `delta` (default 1), linear above; see `huber`."""

    function = staticmethod(huber)

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = DEFAULT_REDUCTION,
        name: str | None = "huber_loss",
        dtype: Any = None,
    ) -> None:
        if not delta > 0:
            raise ArgumentError(f"delta must be a number > 0, got {delta!r}")
        super().__init__(reduction, name, dtype, delta=delta)


@built_in("loss", module=MODULE)
class LogCosh(FunctionLoss):
    """`mean(log(cosh(y_pred - y_true)))`."""

    function = staticmethod(log_cosh)


@built_in("loss", module=MODULE)
class CosineSimilarity(FunctionLoss):
    """Minus the cosine between targets and predictions along `axis`: -1 for the same direction, 1 for opposite ones."""

    function = staticmethod(cosine_similarity)

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = DEFAULT_REDUCTION,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype, axis=axis)
