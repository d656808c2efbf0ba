"""Functions and torch.nn modules in the place of a `Loss`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from penalize.errors import ArgumentError
from penalize.losses.arrays import same_shape, to_tensor
from penalize.losses.base import Loss
from penalize.losses.reduction import fit_weight

__all__ = ["CallableLoss", "TorchLoss"]

INDEX_MODULES = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss, nn.MultiLabelMarginLoss)


class CallableLoss(Loss):
    """A function of (y_true, y_pred) as a loss: its values, or its one value, are weighed and averaged.

    >>> CallableLoss(lambda y_true, y_pred: (y_true - y_pred).abs().amax(-1))(torch.zeros(2, 2), torch.eye(2))
    tensor(1.)
    """

    def __init__(self, function: Callable[[Any, Any], torch.Tensor]) -> None:
        super().__init__(getattr(function, "__name__", type(function).__name__))
        self.function = function

    def call(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        return self.function(y_true, y_pred)

    def __repr__(self) -> str:
        return f"CallableLoss({self.name})"


class TorchLoss(Loss):
    """A loss module of torch.nn, which takes (input, target), called with (y_true, y_pred) like every other loss.

    Indices of classes become long, other targets get the predictions' dtype; (batch,) with (batch, 1) are made one
    shape. With `sample_weight` the module is asked for every value (`reduction="none"`), each sample's values are
    averaged, weighed, and reduced as the module says, so that weights of 1 change nothing.

    Raises `ArgumentError` for a sample_weight when the module has no `reduction`.

    >>> TorchLoss(nn.MSELoss())(torch.zeros(2), torch.tensor([[1.0], [3.0]]), sample_weight=[1.0, 0.0])
    tensor(0.5000)
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__(type(module).__name__)
        self.module = module

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> torch.Tensor:
        target, predicted = self.inputs(y_true, y_pred)
        module = self.module.to(predicted.device)
        if sample_weight is None:
            value: torch.Tensor = module(predicted, target)
            return value
        reduction: Any = getattr(module, "reduction", None)
        if reduction is None:
            raise ArgumentError(f"{self.name} has no reduction, so it cannot be given a sample_weight")
        each: Any = copy.copy(module)
        each.reduction = "none"
        values: torch.Tensor = each(predicted, target)
        weighed = values * fit_weight(sample_weight, values)
        if reduction == "mean":
            return weighed.sum() / self._count(predicted, target, values)
        return weighed.sum() if reduction == "sum" else weighed

    def inputs(self, y_true: Any, y_pred: Any) -> tuple[torch.Tensor, torch.Tensor]:
        predicted = to_tensor(y_pred)
        target = to_tensor(y_true, predicted.device)
        if isinstance(self.module, INDEX_MODULES):
            if target.is_floating_point() and target.shape == predicted.shape:
                return target.to(predicted.dtype), predicted
            if target.ndim == predicted.ndim and target.shape[-1] == 1:
                target = target.squeeze(-1)
            return target.long(), predicted
        if not type(self.module).__module__.startswith("torch.nn."):
            return target, predicted
        return same_shape(target.to(predicted.dtype), predicted, self.name)

    def _count(self, predicted: torch.Tensor, target: torch.Tensor, values: torch.Tensor) -> torch.Tensor | float:
        """What the module divides by for its mean: the number of values, or the sum of the weights of their classes."""
        module = self.module
        if isinstance(module, nn.CrossEntropyLoss | nn.NLLLoss) and not target.is_floating_point():
            ones = -torch.ones_like(predicted)
            return functional.nll_loss(ones, target, module.weight, ignore_index=module.ignore_index, reduction="sum")
        return float(max(values.numel(), 1))

    def __repr__(self) -> str:
        return f"TorchLoss({self.module})"
