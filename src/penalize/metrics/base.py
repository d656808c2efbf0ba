"""The base classes of metrics: what is added up, in objects of torchmetrics, and what comes out."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, Self

import torch

from penalize.errors import ArgumentError, MissingExtraError
from penalize.losses.arrays import loose_pair
from penalize.losses.reduction import fit_weight, kept_values

__all__ = ["MeanMetric", "MeanMetricWrapper", "Metric", "library"]


def library() -> ModuleType:
    """The module torchmetrics.

    Raises `MissingExtraError` when it is not installed.
    """
    try:
        import torchmetrics
    except ImportError as error:
        raise MissingExtraError('metrics need torchmetrics: pip install "penalize[train]"') from error
    return torchmetrics


class Metric:
    """A number about targets and predictions that is gathered over batches.

    A subclass adds to `parts`, a list of torchmetrics objects, in `update`, and defines `compute`. These objects are
    what `reset`, `to` and distributed training act on.

    >>> from penalize.metrics import MeanSquaredError
    >>> metric = MeanSquaredError()
    >>> metric.update([[0.0], [0.0]], [[1.0], [3.0]])
    >>> metric.compute()
    tensor(5.)
    """

    def __init__(self, name: str = "metric") -> None:
        self.name = name
        self.parts: list[Any] = []

    def update(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Gather one batch; `sample_weight` is one weight a sample, where the metric can weigh.

        Raises `ArgumentError` for a sample_weight where it cannot.
        """
        raise NotImplementedError(f"{type(self).__name__} must define update(y_true, y_pred, sample_weight=None)")

    def compute(self) -> torch.Tensor:
        """The metric of all batches since the start or the last `reset`; 0 for none."""
        raise NotImplementedError(f"{type(self).__name__} must define compute()")

    def reset(self) -> None:
        """Forget all batches."""
        for part in self.parts:
            part.reset()

    def to(self, device: Any) -> Self:
        """Move what is gathered to a device."""
        self.parts = [part.to(device) for part in self.parts]
        return self

    def results(self) -> list[Any]:
        """What each of the parts computes, without torchmetrics' warnings about parts that nothing was added to."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return [part.compute() for part in self.parts]

    def refuse_weight(self, sample_weight: Any) -> None:
        if sample_weight is not None:
            raise ArgumentError(f"{self.name} cannot be weighed: it takes no sample_weight")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments by name: each is an attribute."""
        return {argument: getattr(self, argument) for argument in inspect.signature(type(self)).parameters}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A new metric with the arguments that `get_config` gave."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"


class MeanMetric(Metric):
    """The mean of the values that `values(y_true, y_pred)` gives for a batch: `sum(v w) / sum(w)`, 0 for no weight."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.parts = [library().SumMetric(nan_strategy="disable") for _ in ("sum of v w", "sum of w")]

    def values(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """One value a sample, or a sample and timestep, ..."""
        raise NotImplementedError(f"{type(self).__name__} must define values(y_true, y_pred)")

    @torch.no_grad()
    def update(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        values = self.values(*loose_pair(y_true, y_pred))
        values = values if values.is_floating_point() else values.float()
        weight = torch.ones_like(values)
        if sample_weight is not None:
            weight = fit_weight(sample_weight, values).expand(values.shape)
        kept = kept_values(y_pred, values)
        if kept is not None:
            weight = weight * kept
        self.to(values.device)
        self.parts[0].update((values * weight).sum())
        self.parts[1].update(weight.sum())

    def compute(self) -> torch.Tensor:
        total, weight = self.results()
        return torch.where(weight == 0, torch.zeros_like(total), total / weight)


class MeanMetricWrapper(MeanMetric):
    """The mean of a function of (y_true, y_pred), which gives a value a sample, or one value.

    Source: Keras 3.15.1, the class of this name.
    """

    def __init__(self, fn: Callable[..., torch.Tensor], name: str | None = None, **arguments: Any) -> None:
        label = getattr(fn, "__name__", type(fn).__name__)
        super().__init__(name or ("lambda" if label == "<lambda>" else label))
        self.fn = fn
        self.arguments = arguments

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **self.arguments}

    def values(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.fn(y_true, y_pred, **self.arguments))
