"""From an identifier (a name, class, instance, torchmetrics object or function) to a metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penalize.configs import Configs
from penalize.errors import ArgumentError, ConfigError
from penalize.metrics.accuracy import AutoAccuracy
from penalize.metrics.base import MeanMetricWrapper, Metric, library
from penalize.metrics.wrappers import TorchMetric
from penalize.registry import custom_object, custom_object_scope, find, is_built_in_name

__all__ = ["deserialize", "get", "serialize"]

CONFIGS = Configs("metric", "a metric", Metric)

# What Keras's configs say besides, and the values at which it changes nothing.
WITHOUT: dict[str, tuple[Any, ...]] = {
    "dtype": (None, "float32"),
    "summation_method": ("interpolation",),
    "multi_label": (False,),
    "num_labels": (None,),
    "label_weights": (None,),
    "top_k": (None,),
    "class_id": (None,),
}

# Of the arguments that a metric's tables grow with.
MOST_ENTRIES = 2**14

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


def serialize(metric: Any) -> Any:
    """The config of a metric in Keras's form, or the name alone of one that was chosen by "accuracy".

    Raises `ConfigError` for torchmetrics' objects, and for functions and classes that are not registered.

    >>> from penalize.metrics import TopKCategoricalAccuracy
    >>> serialize(TopKCategoricalAccuracy(k=3))["config"]
    {'name': 'top_k_categorical_accuracy', 'k': 3}
    """
    if isinstance(metric, str):
        return metric
    if isinstance(metric, AutoAccuracy):
        return metric.name
    return CONFIGS.write(metric.fn if type(metric) is MeanMetricWrapper else metric)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None, *, loss: Any = None) -> Metric:
    """A new metric from what `serialize` gave, from Keras's config of the same metric, or from a name.

    Raises `UnknownNameError` for an unknown name and `ConfigError` for a config that does not fit.
    """
    with custom_object_scope(custom_objects):
        if isinstance(config, str):
            return _by_name(config, loss)
        chosen, values = CONFIGS.choose(config)
        if values is None:
            return get(chosen)
        for key, value in values.items():
            if isinstance(key, str) and key.startswith("num_") and isinstance(value, int) and value > MOST_ENTRIES:
                raise ConfigError(f"{chosen.__name__}: {key} is at most {MOST_ENTRIES} in a config, got {value!r:.80}")
        metric: Metric = CONFIGS.make(chosen, values, WITHOUT)
        return metric


def _by_name(name: str, loss: Any) -> Metric:
    if name.lower() in AUTOMATIC:
        return AutoAccuracy(name, loss)
    custom = None if is_built_in_name("metric", name) else custom_object(name)
    if custom is not None:
        return get(custom)
    entry = find("metric", name, extra=AUTOMATIC)
    metric: Metric = entry.factory(name=name, **SCALAR_ARGUMENTS.get(entry.class_name, {}))
    return metric
