"""The hinge losses. Source: Keras 3.15.1."""

from __future__ import annotations

from typing import Any

import torch

from penalize.losses.arrays import float_pair
from penalize.losses.base import FunctionLoss
from penalize.registry import built_in

__all__ = ["CategoricalHinge", "Hinge", "SquaredHinge", "categorical_hinge", "hinge", "squared_hinge"]


def _signs(y_true: torch.Tensor) -> torch.Tensor:
    """Targets of a batch that holds only 0 and 1 as -1 and 1; others as they are."""
    return torch.where(((y_true == 0) | (y_true == 1)).all(), 2.0 * y_true - 1.0, y_true)


@built_in("loss", module="keras.losses")
def hinge(y_true: Any, y_pred: Any) -> torch.Tensor:
    """`mean(max(1 - y_true y_pred, 0))` over the last axis; targets are -1 and 1, or 0 and 1."""
    target, predicted = float_pair(y_true, y_pred, "hinge")
    return (1.0 - _signs(target) * predicted).clamp(min=0.0).mean(-1)


@built_in("loss", module="keras.losses")
def squared_hinge(y_true: Any, y_pred: Any) -> torch.Tensor:
    """`mean(max(1 - y_true y_pred, 0)**2)` over the last axis; targets are -1 and 1, or 0 and 1."""
    target, predicted = float_pair(y_true, y_pred, "squared_hinge")
    return (1.0 - _signs(target) * predicted).clamp(min=0.0).square().mean(-1)


@built_in("loss", module="keras.losses")
def categorical_hinge(y_true: Any, y_pred: Any) -> torch.Tensor:
    """`max(1 + max((1 - y_true) y_pred) - sum(y_true y_pred), 0)` over the last axis; targets are 0 and 1."""
    target, predicted = float_pair(y_true, y_pred, "categorical_hinge")
    others = ((1.0 - target) * predicted).amax(-1)
    return (1.0 + others - (target * predicted).sum(-1)).clamp(min=0.0)


@built_in("loss", module="keras.losses")
class Hinge(FunctionLoss):
    """`mean(max(1 - y_true y_pred, 0))`."""

    function = staticmethod(hinge)


@built_in("loss", module="keras.losses")
class SquaredHinge(FunctionLoss):
    """`mean(max(1 - y_true y_pred, 0)**2)`."""

    function = staticmethod(squared_hinge)


@built_in("loss", module="keras.losses")
class CategoricalHinge(FunctionLoss):
    """`max(1 + max((1 - y_true) y_pred) - sum(y_true y_pred), 0)`."""

    function = staticmethod(categorical_hinge)
