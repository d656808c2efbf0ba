"""Metrics that torchmetrics has as a whole: the coefficient of determination, and any object of torchmetrics."""

from __future__ import annotations

import re
from typing import Any

import torch

from penalize.errors import ArgumentError
from penalize.losses.arrays import float_pair, match_shapes, to_tensor
from penalize.metrics.base import Metric, library
from penalize.registry import built_in

__all__ = ["R2Score", "TorchMetric"]

AGGREGATIONS = {
    "uniform_average": "uniform_average",
    "variance_weighted_average": "variance_weighted",
    None: "raw_values",
}


@built_in("metric", module="keras.metrics", names=["r2_score"])
class R2Score(Metric):
    """The coefficient of determination, `1 - sum((y - p)**2) / sum((y - mean(y))**2)`, of each output.

    Parameters: `class_aggregation`, how several outputs become one number, "uniform_average" (default),
    "variance_weighted_average" or None for one number each; `name`. Fewer than two samples give 0.

    Source: Keras 3.15.1.
    """

    def __init__(self, class_aggregation: str | None = "uniform_average", name: str = "r2_score") -> None:
        super().__init__(name)
        if class_aggregation not in AGGREGATIONS:
            known = ", ".join(map(repr, AGGREGATIONS))
            raise ArgumentError(f"class_aggregation must be one of {known}, got {class_aggregation!r:.80}")
        self.class_aggregation = class_aggregation
        self.parts = [library().R2Score(multioutput=AGGREGATIONS[class_aggregation])]

    def update(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.refuse_weight(sample_weight)
        target, predicted = float_pair(y_true, y_pred, self.name)
        self.to(predicted.device)
        rows = (predicted.shape[0], -1) if predicted.ndim > 1 and predicted.shape[1:].numel() > 1 else (-1,)
        self.parts[0].update(predicted.detach().reshape(rows), target.reshape(rows))

    def compute(self) -> torch.Tensor:
        try:
            result: torch.Tensor = self.results()[0]
        except ValueError:  # torchmetrics' word for fewer than two samples, said after gathering from all processes
            return torch.tensor(0.0)
        return result.reshape(-1) if self.class_aggregation is None else result


class TorchMetric(Metric):
    """An object of torchmetrics, which takes (preds, target), called with (y_true, y_pred) like every other metric.

    (batch,) with (batch, 1) are made one shape, and targets of classification metrics integers.

    >>> import torchmetrics
    >>> metric = TorchMetric(torchmetrics.MeanSquaredError())
    >>> metric.update(torch.zeros(2), torch.tensor([1.0, 3.0]))
    >>> metric.name, metric.compute()
    ('mean_squared_error', tensor(5.))
    """

    def __init__(self, metric: Any, name: str | None = None) -> None:
        own = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(metric).__name__).lower()
        super().__init__(own if name is None else name)
        self.parts = [metric]

    @torch.no_grad()
    def update(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.refuse_weight(sample_weight)
        predicted = to_tensor(y_pred)
        target, predicted = match_shapes(to_tensor(y_true, predicted.device), predicted)
        if ".classification." in type(self.parts[0]).__module__:
            target = target.long()
            if target.ndim == predicted.ndim and target.shape[-1] == 1 and predicted.shape[-1] > 1:
                target = target.squeeze(-1)
        self.to(predicted.device)
        self.parts[0].update(predicted, target)

    def compute(self) -> torch.Tensor:
        result: torch.Tensor = self.results()[0]
        return result
