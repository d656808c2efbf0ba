"""From an identifier (a name, class, instance, torchmetrics object or function) to a metric."""

from __future__ import annotations

from typing import Any

from penalize.errors import ArgumentError
from penalize.metrics.accuracy import AutoAccuracy
from penalize.metrics.base import MeanMetricWrapper, Metric, library
from penalize.metrics.wrappers import TorchMetric
from penalize.registry import custom_object, find, is_built_in_name

__all__ = ["get"]

AUTOMATIC = ("accuracy", "acc")

# One number a log entry, where the class by itself gives one a class.
SCALAR_ARGUMENTS: dict[str, dict[str, Any]] = {"F1Score": {"average": "macro"}, "FBetaScore": {"average": "macro"}}


def get(identifier: Any, *, loss: Any = None) -> Metric:
    """The metric that `identifier` stands for, to be used as `update(y_true, y_pred)`, then `compute()`.

    A name ("accuracy", "mse", "MeanSquaredError", "auc", ...) gives a metric that carries this very name, as in Keras's
    logs; "accuracy" and "acc", in any case, the accuracy that fits the shapes; "f1_score" the mean over classes. A
    class gives a metric with its defaults, a metric is returned as it is; an object or class of torchmetrics is wrapped
    in a `TorchMetric`, and a function of (y_true, y_pred) in a `MeanMetricWrapper`. `loss` is what the model is trained
    on, see `AutoAccuracy`.

    Raises `UnknownNameError` for an unknown name, offering the nearest, `ArgumentError` for anything else, and
    `MissingExtraError` without torchmetrics. Source: Keras 3.15.1, `keras.metrics.get` and `Model.compile`.

    >>> get("mae")
    MeanAbsoluteError(name='mae')
    """
    if isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, str):
        return _by_name(identifier, loss)
    if isinstance(identifier, type) and issubclass(identifier, Metric):
        return identifier()
    of_torch = library().Metric
    if isinstance(identifier, type) and issubclass(identifier, of_torch):
        try:
            return TorchMetric(identifier())
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"{identifier.__name__} needs arguments, pass an instance of it: {error}") from error
    if isinstance(identifier, of_torch):
        return TorchMetric(identifier)
    if callable(identifier) and not isinstance(identifier, type):
        return MeanMetricWrapper(identifier)
    raise ArgumentError(
        "a metric is a name, a metric of penalize.metrics or of torchmetrics, or a function of (y_true, y_pred), "
        f"got {type(identifier).__name__}: {identifier!r:.80}"
    )


def _by_name(name: str, loss: Any) -> Metric:
    if name.lower() in AUTOMATIC:
        return AutoAccuracy(name, loss)
    custom = None if is_built_in_name("metric", name) else custom_object(name)
    if custom is not None:
        return get(custom)
    entry = find("metric", name, extra=AUTOMATIC)
    metric: Metric = entry.factory(name=name, **SCALAR_ARGUMENTS.get(entry.class_name, {}))
    return metric
