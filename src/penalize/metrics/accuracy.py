"""The accuracies: shares of predictions that meet their targets. Source: Keras 3.15.1."""

from __future__ import annotations

from typing import Any

import torch

from penalize.errors import ArgumentError, ShapeError
from penalize.losses.arrays import float_pair, loose_pair
from penalize.metrics.base import MeanMetric, MeanMetricWrapper
from penalize.registry import built_in

__all__ = [
    "Accuracy",
    "AutoAccuracy",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "SparseCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "binary_accuracy",
    "categorical_accuracy",
    "sparse_categorical_accuracy",
    "sparse_top_k_categorical_accuracy",
    "top_k_categorical_accuracy",
]


def accuracy(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Where y_true equals y_pred."""
    target, predicted = float_pair(y_true, y_pred, "accuracy")
    return (target == predicted).float()


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> torch.Tensor:
    """The share of the last axis where y_true is `y_pred > threshold`, whether these are probabilities or logits.

    >>> binary_accuracy([[0.0, 1.0]], [[0.4, 0.5]])
    tensor([0.5000])
    """
    target, predicted = float_pair(y_true, y_pred, "binary_accuracy")
    return (target == (predicted > threshold)).float().mean(-1)


def categorical_accuracy(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Whether the largest element on the last axis is at the same place in both."""
    target, predicted = float_pair(y_true, y_pred, "categorical_accuracy")
    return (target.argmax(-1) == predicted.argmax(-1)).float()


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Whether y_pred's largest element on the last axis is at y_true, the index of the class."""
    labels, predicted = _labels(y_true, y_pred, "sparse_categorical_accuracy")
    return (labels == predicted.argmax(-1)).float()


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> torch.Tensor:
    """Whether fewer than k elements of y_pred are larger than the one where y_true is largest."""
    target, predicted = float_pair(y_true, y_pred, "top_k_categorical_accuracy")
    return sparse_top_k_categorical_accuracy(target.argmax(-1), predicted, k)


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> torch.Tensor:
    """Whether fewer than k elements of y_pred are larger than that of y_true, the index of the class.

    >>> sparse_top_k_categorical_accuracy([0, 0], [[0.3, 0.5, 0.2], [0.1, 0.5, 0.4]], k=2)
    tensor([1., 0.])
    """
    labels, predicted = _labels(y_true, y_pred, "sparse_top_k_categorical_accuracy")
    own = predicted.gather(-1, labels.unsqueeze(-1))
    return ((predicted > own).sum(-1) < k).float()


def _labels(y_true: Any, y_pred: Any, metric: str) -> tuple[torch.Tensor, torch.Tensor]:
    target, predicted = loose_pair(y_true, y_pred)
    if target.ndim == predicted.ndim and target.shape[-1:] == (1,):
        target = target.squeeze(-1)
    if target.shape != predicted.shape[:-1] or predicted.ndim == 0:
        raise ShapeError(
            f"{metric}: y_true must have the shape of y_pred without its last axis, "
            f"got y_true {tuple(target.shape)} and y_pred {tuple(predicted.shape)}"
        )
    return target.long(), predicted


@built_in("metric", module="keras.metrics")
class Accuracy(MeanMetricWrapper):
    """The share of values where targets equal predictions, for predicted labels; "accuracy" is `AutoAccuracy`."""

    def __init__(self, name: str = "accuracy") -> None:
        super().__init__(accuracy, name)


@built_in("metric", module="keras.metrics", names=["binary_accuracy"])
class BinaryAccuracy(MeanMetricWrapper):
    """The share of values where the target is `prediction > threshold`, also if predictions are logits.

    >>> metric = BinaryAccuracy()
    >>> metric.update([[0.0], [1.0]], [[0.2], [0.3]], sample_weight=[1.0, 3.0])
    >>> metric.compute()
    tensor(0.2500)
    """

    def __init__(self, name: str = "binary_accuracy", threshold: float = 0.5) -> None:
        super().__init__(binary_accuracy, name, threshold=threshold)


@built_in("metric", module="keras.metrics", names=["categorical_accuracy"])
class CategoricalAccuracy(MeanMetricWrapper):
    """The share of samples whose class, the place of the largest element, is predicted; targets are one-hot."""

    def __init__(self, name: str = "categorical_accuracy") -> None:
        super().__init__(categorical_accuracy, name)


@built_in("metric", module="keras.metrics", names=["sparse_categorical_accuracy"])
class SparseCategoricalAccuracy(MeanMetricWrapper):
    """The share of samples whose class is predicted; targets are indices of classes."""

    def __init__(self, name: str = "sparse_categorical_accuracy") -> None:
        super().__init__(sparse_categorical_accuracy, name)


@built_in("metric", module="keras.metrics", names=["top_k_categorical_accuracy"])
class TopKCategoricalAccuracy(MeanMetricWrapper):
    """The share of samples whose class is among the `k` largest predictions; targets are one-hot."""

    def __init__(self, k: int = 5, name: str = "top_k_categorical_accuracy") -> None:
        super().__init__(top_k_categorical_accuracy, name, k=_at_least_one(k))


@built_in("metric", module="keras.metrics", names=["sparse_top_k_categorical_accuracy"])
class SparseTopKCategoricalAccuracy(MeanMetricWrapper):
    """The share of samples whose class is among the `k` largest predictions; targets are indices of classes."""

    def __init__(self, k: int = 5, name: str = "sparse_top_k_categorical_accuracy") -> None:
        super().__init__(sparse_top_k_categorical_accuracy, name, k=_at_least_one(k))


class AutoAccuracy(MeanMetric):
    """What "accuracy" and "acc" stand for: the accuracy that fits the shapes, as Keras 3.15.1 chooses it.

    Binary for predictions with a last axis of size 1; categorical for targets of the predictions' shape; otherwise
    sparse categorical. For predictions of rank 1, binary.

    `loss` is asked for one thing: torch's cross-entropy has the classes on axis 1, also at ranks above 2.
    """

    def __init__(self, name: str = "accuracy", loss: Any = None) -> None:
        super().__init__(name)
        module = getattr(loss, "module", loss)
        self.classes_second = isinstance(module, torch.nn.CrossEntropyLoss | torch.nn.NLLLoss)

    def values(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        if self.classes_second and y_pred.ndim > 2:
            if y_true.shape == y_pred.shape:
                y_true = y_true.movedim(1, -1)
            y_pred = y_pred.movedim(1, -1)
        if y_pred.ndim < 2 or y_pred.shape[-1] == 1:
            return binary_accuracy(y_true, y_pred)
        if y_true.shape == y_pred.shape:
            return categorical_accuracy(y_true, y_pred)
        return sparse_categorical_accuracy(y_true, y_pred)


def _at_least_one(k: int) -> int:
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ArgumentError(f"k must be an integer >= 1, got {k!r}")
    return k
