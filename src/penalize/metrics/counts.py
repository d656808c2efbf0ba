"""Metrics from counts of right and wrong decisions: precision, recall, F scores and the area under the ROC curve.

Predictions are compared with thresholds as they are, never taken for logits unasked. Source: Keras 3.15.1.
"""

from __future__ import annotations

from typing import Any

import torch

from penalize.errors import ArgumentError, ShapeError
from penalize.losses.arrays import float_pair
from penalize.metrics.base import Metric, library
from penalize.registry import built_in

__all__ = ["AUC", "F1Score", "FBetaScore", "Precision", "Recall"]

AVERAGES = (None, "micro", "macro", "weighted")


class Decided(Metric):
    """A metric of torchmetrics on the decisions `y_pred > thresholds`, all elements alike."""

    def __init__(self, torch_class: str, thresholds: float | None, name: str) -> None:
        super().__init__(name)
        self.thresholds = thresholds
        self.threshold = 0.5 if thresholds is None else thresholds
        if not isinstance(self.threshold, int | float) or not 0 <= self.threshold <= 1:
            raise ArgumentError(f"thresholds must be None or one number between 0 and 1, got {thresholds!r:.80}")
        self.parts = [getattr(library().classification, torch_class)()]

    def update(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.refuse_weight(sample_weight)
        target, predicted = float_pair(y_true, y_pred, self.name)
        self.to(predicted.device)
        self.parts[0].update((predicted > self.threshold).int().flatten(), (target != 0).int().flatten())

    def compute(self) -> torch.Tensor:
        result: torch.Tensor = self.results()[0]
        return result


@built_in("metric", module="keras.metrics", names=["precision"])
class Precision(Decided):
    """Of the elements predicted above `thresholds` (one number, default 0.5), the share whose target is 1."""

    def __init__(self, thresholds: float | None = None, name: str = "precision") -> None:
        super().__init__("BinaryPrecision", thresholds, name)


@built_in("metric", module="keras.metrics", names=["recall"])
class Recall(Decided):
    """Of the elements whose target is 1, the share predicted above `thresholds` (one number, default 0.5)."""

    def __init__(self, thresholds: float | None = None, name: str = "recall") -> None:
        super().__init__("BinaryRecall", thresholds, name)


@built_in("metric", module="keras.metrics", names=["auc"])
class AUC(Metric):
    """The area under the ROC curve, by trapezoids between `num_thresholds` evenly spaced thresholds.

    Parameters: `num_thresholds` 200; `curve`, "ROC" alone (for precision and recall torchmetrics has
    BinaryAveragePrecision); `name`; `from_logits` False, applies the sigmoid to the predictions first.

    Predictions outside [0, 1] count as 0 or 1.
    """

    def __init__(
        self, num_thresholds: int = 200, curve: str = "ROC", name: str = "auc", from_logits: bool = False
    ) -> None:
        super().__init__(name)
        if curve != "ROC":
            raise ArgumentError(
                f"curve must be 'ROC', got {curve!r}: see torchmetrics' BinaryAveragePrecision for 'PR'"
            )
        if isinstance(num_thresholds, bool) or not isinstance(num_thresholds, int) or num_thresholds < 2:
            raise ArgumentError(f"num_thresholds must be an integer >= 2, got {num_thresholds!r}")
        self.num_thresholds = num_thresholds
        self.curve = curve
        self.from_logits = from_logits
        self.parts = [library().classification.BinaryAUROC(thresholds=num_thresholds)]

    def update(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.refuse_weight(sample_weight)
        target, predicted = float_pair(y_true, y_pred, self.name)
        predicted = torch.sigmoid(predicted) if self.from_logits else predicted.clamp(0.0, 1.0)
        self.to(predicted.device)
        self.parts[0].update(predicted.detach().flatten(), (target != 0).int().flatten())

    def compute(self) -> torch.Tensor:
        result: torch.Tensor = self.results()[0]
        return result


@built_in("metric", module="keras.metrics", names=["f_beta_score"])
class FBetaScore(Metric):
    """`(1 + beta**2) p r / (beta**2 p + r)`, p the precision and r the recall of each class; 0 where nothing is.

    Targets and predictions are of shape (batch, classes). Without a `threshold` the class of the largest prediction is
    predicted, with one every class above it.

    Parameters: `average`, None for one score a class, "macro" for their mean, "weighted" for the mean weighed by the
    classes' shares of the targets, "micro" for the score of all classes' decisions together; `beta` 1; `threshold`
    None; `name`.
    """

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str = "fbeta_score",
    ) -> None:
        super().__init__(name)
        if average not in AVERAGES:
            raise ArgumentError(f"average must be None, 'micro', 'macro' or 'weighted', got {average!r}")
        if not beta > 0:
            raise ArgumentError(f"beta must be a number > 0, got {beta!r}")
        self.average = average
        self.beta = beta
        self.threshold = threshold

    def update(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.refuse_weight(sample_weight)
        target, predicted = float_pair(y_true, y_pred, self.name)
        if predicted.ndim != 2:
            raise ShapeError(
                f"{self.name} takes targets and predictions of shape (batch, classes), got {predicted.shape}"
            )
        if self.threshold is None:
            largest = predicted.amax(-1, keepdim=True)
            decided = (predicted == largest) & (predicted.abs() > 1e-9)
        else:
            decided = predicted > self.threshold
        if not self.parts:
            self.parts = [_stat_scores(predicted.shape[-1])]
        self.to(predicted.device)
        shape = (-1,) if predicted.shape[-1] == 1 else tuple(predicted.shape)
        self.parts[0].update(decided.int().reshape(shape), (target != 0).int().reshape(shape))

    def compute(self) -> torch.Tensor:
        if not self.parts:
            return torch.tensor(0.0)
        counts: torch.Tensor = self.results()[0]
        hits, false_alarms, _, misses, support = counts.reshape(-1, 5).float().unbind(-1)
        if self.average == "micro":
            hits, false_alarms, misses = hits.sum(), false_alarms.sum(), misses.sum()
        precision = hits / (hits + false_alarms).clamp(min=1.0)
        recall = hits / (hits + misses).clamp(min=1.0)
        squared = self.beta**2
        below = squared * precision + recall
        scores = torch.where(below > 0, (1.0 + squared) * precision * recall / below.clamp(min=1e-30), 0.0)
        if self.average == "macro":
            return scores.mean()
        if self.average == "weighted":
            return (scores * support).sum() / support.sum().clamp(min=1.0)
        return scores


@built_in("metric", module="keras.metrics", names=["f1_score"])
class F1Score(FBetaScore):
    """`FBetaScore` with beta 1: the harmonic mean of precision and recall."""

    def __init__(self, average: str | None = None, threshold: float | None = None, name: str = "f1_score") -> None:
        super().__init__(average, 1.0, threshold, name)


def _stat_scores(classes: int) -> Any:
    """torchmetrics' counts (true and false positives, true and false negatives, support) of each class."""
    classification = library().classification
    if classes == 1:
        return classification.BinaryStatScores()
    return classification.MultilabelStatScores(num_labels=classes, average=None)
