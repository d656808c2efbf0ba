"""Losses as metrics: the mean over all samples, with weights. Source: Keras 3.15.1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch

from penalize import losses
from penalize.losses.arrays import float_pair
from penalize.metrics.base import MeanMetric, MeanMetricWrapper
from penalize.registry import built_in

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "Hinge",
    "KLDivergence",
    "LogCoshError",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "RootMeanSquaredError",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
]


class LossMetric(MeanMetricWrapper):
    """The mean of a loss function without arguments of its own."""

    function: ClassVar[Callable[..., torch.Tensor]]

    def __init__(self, name: str | None = None) -> None:
        super().__init__(type(self).function, name)


@built_in("metric", module="keras.metrics", names=["mean_squared_error", "mse", "MSE"])
class MeanSquaredError(LossMetric):
    """The mean of `(y_true - y_pred)**2`."""

    function = staticmethod(losses.mean_squared_error)


@built_in("metric", module="keras.metrics", names=["mean_absolute_error", "mae", "MAE"])
class MeanAbsoluteError(LossMetric):
    """The mean of `abs(y_true - y_pred)`."""

    function = staticmethod(losses.mean_absolute_error)


@built_in("metric", module="keras.metrics", names=["mean_absolute_percentage_error", "mape", "MAPE"])
class MeanAbsolutePercentageError(LossMetric):
    """The mean of `100 abs(y_true - y_pred) / abs(y_true)`."""

    function = staticmethod(losses.mean_absolute_percentage_error)


@built_in("metric", module="keras.metrics", names=["mean_squared_logarithmic_error", "msle", "MSLE"])
class MeanSquaredLogarithmicError(LossMetric):
    """The mean of `(log(1 + y_true) - log(1 + y_pred))**2`."""

    function = staticmethod(losses.mean_squared_logarithmic_error)


@built_in("metric", module="keras.metrics", names=["kl_divergence"])
class KLDivergence(LossMetric):
    """The mean of `sum(y_true log(y_true / y_pred))`."""

    function = staticmethod(losses.kl_divergence)


@built_in("metric", module="keras.metrics", names=["poisson"])
class Poisson(LossMetric):
    """The mean of `y_pred - y_true log(y_pred)`."""

    function = staticmethod(losses.poisson)


@built_in("metric", module="keras.metrics", names=["hinge"])
class Hinge(LossMetric):
    """The mean of `max(1 - y_true y_pred, 0)`."""

    function = staticmethod(losses.hinge)


@built_in("metric", module="keras.metrics", names=["squared_hinge"])
class SquaredHinge(LossMetric):
    """The mean of `max(1 - y_true y_pred, 0)**2`."""

    function = staticmethod(losses.squared_hinge)


@built_in("metric", module="keras.metrics", names=["categorical_hinge"])
class CategoricalHinge(LossMetric):
    """The mean of `max(1 + max((1 - y_true) y_pred) - sum(y_true y_pred), 0)`."""

    function = staticmethod(losses.categorical_hinge)


@built_in("metric", module="keras.metrics", names=["log_cosh_error"])
class LogCoshError(LossMetric):
    """The mean of `log(cosh(y_pred - y_true))`."""

    function = staticmethod(losses.log_cosh)

    def __init__(self, name: str = "logcosh") -> None:
        super().__init__(name)


@built_in("metric", module="keras.metrics", names=["cosine_similarity"])
class CosineSimilarity(MeanMetricWrapper):
    """The mean of the cosine between targets and predictions along `axis`: 1 for the same direction."""

    def __init__(self, name: str = "cosine_similarity", axis: int = -1) -> None:
        super().__init__(losses.cosine_similarity, name, axis=axis)

    def values(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        return -super().values(y_true, y_pred)


@built_in("metric", module="keras.metrics", names=["binary_crossentropy", "bce", "BCE"])
class BinaryCrossentropy(MeanMetricWrapper):
    """The mean of `losses.binary_crossentropy`."""

    def __init__(
        self, name: str = "binary_crossentropy", from_logits: bool = False, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(losses.binary_crossentropy, name, from_logits=from_logits, label_smoothing=label_smoothing)


@built_in("metric", module="keras.metrics", names=["categorical_crossentropy"])
class CategoricalCrossentropy(MeanMetricWrapper):
    """The mean of `losses.categorical_crossentropy`; targets are one-hot."""

    def __init__(
        self,
        name: str = "categorical_crossentropy",
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
    ) -> None:
        arguments: dict[str, Any] = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis}
        super().__init__(losses.categorical_crossentropy, name, **arguments)


@built_in("metric", module="keras.metrics", names=["sparse_categorical_crossentropy"])
class SparseCategoricalCrossentropy(MeanMetricWrapper):
    """The mean of `losses.sparse_categorical_crossentropy`; targets are indices of classes."""

    def __init__(
        self, name: str = "sparse_categorical_crossentropy", from_logits: bool = False, axis: int = -1
    ) -> None:
        super().__init__(losses.sparse_categorical_crossentropy, name, from_logits=from_logits, axis=axis)


@built_in("metric", module="keras.metrics", names=["root_mean_squared_error"])
class RootMeanSquaredError(MeanMetric):
    """`sqrt(mean((y_true - y_pred)**2))`, the root of the mean over all batches.

    >>> metric = RootMeanSquaredError()
    >>> metric.update([[0.0], [0.0]], [[1.0], [7.0]])
    >>> metric.compute()
    tensor(5.)
    """

    def __init__(self, name: str = "root_mean_squared_error") -> None:
        super().__init__(name)

    def values(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        target, predicted = float_pair(y_true, y_pred, self.name)
        return (target - predicted).square()

    def compute(self) -> torch.Tensor:
        return super().compute().sqrt()
