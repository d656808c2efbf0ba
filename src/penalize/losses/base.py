"""The base classes of losses: conversion of the inputs, the values, the weights and the reduction."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch

from penalize.errors import ArgumentError, nearest
from penalize.losses.arrays import as_dtype, float_pair, loose_pair
from penalize.losses.reduction import check_reduction, kept_values, reduce

__all__ = ["FunctionLoss", "Loss"]

DEFAULT_REDUCTION = "sum_over_batch_size"


class Loss:
    """A loss: values from targets and predictions, then weights and a reduction.

    A subclass defines `call(y_true, y_pred)`, which returns one value a sample (or a sample and timestep, ...):
    the last axis is reduced. It gets tensors of one device: predictions in float32, or float64 where they are, and
    targets of the same dtype and shape, but for those of another shape, such as indices of classes, which stay.

    Parameters: `name`; `reduction`, "sum_over_batch_size" (default; also "mean"), "sum", "mean_with_sample_weight",
    "none" or None; `dtype`, that of the computation, by default as above.

    Raises `ArgumentError` for another reduction or dtype, `ShapeError` for shapes that do not fit. Source: Keras
    3.15.1, `keras.losses.Loss`.

    >>> class Cubed(Loss):
    ...     def call(self, y_true, y_pred):
    ...         return ((y_true - y_pred).abs() ** 3).mean(-1)
    >>> Cubed()(torch.zeros(2, 1), torch.tensor([[1.0], [3.0]]), sample_weight=[1.0, 0.0])
    tensor(0.5000)
    """

    def __init__(self, name: str | None = None, reduction: str | None = DEFAULT_REDUCTION, dtype: Any = None) -> None:
        self.name = _snake_case(type(self).__name__) if name is None else name
        self.reduction = check_reduction(reduction)
        self.dtype = as_dtype(dtype)

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        """The values of the loss, with the last axis of the predictions reduced."""
        raise NotImplementedError(f"{type(self).__name__} must define call(y_true, y_pred)")

    def inputs(self, y_true: Any, y_pred: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """What `call` gets."""
        return loose_pair(y_true, y_pred, self.dtype)

    def mask(self, y_true: torch.Tensor) -> torch.Tensor | None:
        """Which values count, or None when all do."""
        return None

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> torch.Tensor:
        """The loss, reduced; `sample_weight` is one weight a sample, or a sample and timestep, ...

        Timesteps that the mask of `y_pred` marks as padding do not count.
        """
        target, predicted = self.inputs(y_true, y_pred)
        values, mask = self.call(target, predicted), self.mask(target)
        carried = kept_values(y_pred, values)
        if carried is not None:
            mask = carried if mask is None else mask & carried
        return reduce(values, self.reduction, sample_weight, mask)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments by name."""
        config: dict[str, Any] = {"name": self.name, "reduction": self.reduction}
        return config if self.dtype is None else {**config, "dtype": str(self.dtype).removeprefix("torch.")}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A new loss with the arguments that `get_config` gave."""
        return cls(**config)

    def __repr__(self) -> str:
        config = {key: value for key, value in self.get_config().items() if key != "name"}
        if config["reduction"] == DEFAULT_REDUCTION:
            del config["reduction"]
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in config.items())})"


class FunctionLoss(Loss):
    """A loss whose values are those of a function of this package, `function(y_true, y_pred, **arguments)`."""

    function: ClassVar[Callable[..., torch.Tensor]]

    def __init__(
        self, reduction: str | None = DEFAULT_REDUCTION, name: str | None = None, dtype: Any = None, **arguments: Any
    ) -> None:
        super().__init__(type(self).function.__name__ if name is None else name, reduction, dtype)
        known = list(inspect.signature(type(self).function).parameters)[2:]
        for argument in arguments:
            if argument not in known:
                meant = nearest(argument, [*known, "reduction", "name", "dtype"])
                raise ArgumentError(f"{type(self).__name__}: unknown argument {argument!r}: {meant}")
        self.arguments = arguments

    def inputs(self, y_true: Any, y_pred: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return float_pair(y_true, y_pred, self.name, self.dtype)

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        return type(self).function(y_true, y_pred, **self.arguments)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.arguments}


def _snake_case(name: str) -> str:
    """
    >>> _snake_case("MyHuberLoss")
    'my_huber_loss'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
