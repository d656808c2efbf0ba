"""The focal cross-entropies: easy examples weigh less. Source: Keras 3.15.1; Lin et al., 2017."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from penalize.losses.arrays import float_pair
from penalize.losses.base import DEFAULT_REDUCTION, FunctionLoss
from penalize.losses.entropy import binary_crossentropy, check_smoothing, normalize
from penalize.registry import built_in

__all__ = [
    "BinaryFocalCrossentropy",
    "CategoricalFocalCrossentropy",
    "binary_focal_crossentropy",
    "categorical_focal_crossentropy",
]


@built_in("loss", module="keras.losses")
def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> torch.Tensor:
    """The mean over `axis` of the binary cross-entropy times `(1 - q)**gamma`, q the probability given to the truth.

    With `apply_class_balancing`, class 1 is weighed by `alpha` and class 0 by 1 - alpha.
    """
    target, predicted = float_pair(y_true, y_pred, "binary_focal_crossentropy")
    target = target * (1.0 - check_smoothing(label_smoothing)) + 0.5 * label_smoothing
    p = torch.sigmoid(predicted) if from_logits else predicted
    q = target * p + (1.0 - target) * (1.0 - p)
    values = (1.0 - q) ** gamma * binary_crossentropy(target.unsqueeze(-1), p.unsqueeze(-1))
    if apply_class_balancing:
        values = values * (target * alpha + (1.0 - target) * (1.0 - alpha))
    return values.mean(axis)


@built_in("loss", module="keras.losses")
def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: Any = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> torch.Tensor:
    """`-sum(alpha (1 - p)**gamma y log(p))` over `axis`, the classes; `alpha` is a number or one a class."""
    target, predicted = float_pair(y_true, y_pred, "categorical_focal_crossentropy")
    target = target * (1.0 - check_smoothing(label_smoothing)) + label_smoothing / predicted.shape[axis]
    p = normalize(functional.softmax(predicted, axis) if from_logits else predicted, axis)
    weight = torch.as_tensor(alpha, dtype=p.dtype, device=p.device)
    return -(weight * (1.0 - p) ** gamma * target * p.log()).sum(axis)


@built_in("loss", module="keras.losses")
class BinaryFocalCrossentropy(FunctionLoss):
    """`binary_focal_crossentropy` with Keras's arguments."""

    function = staticmethod(binary_focal_crossentropy)

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = DEFAULT_REDUCTION,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            reduction,
            name,
            dtype,
            apply_class_balancing=apply_class_balancing,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=check_smoothing(label_smoothing),
            axis=axis,
        )


@built_in("loss", module="keras.losses")
class CategoricalFocalCrossentropy(FunctionLoss):
    """`categorical_focal_crossentropy` with Keras's arguments."""

    function = staticmethod(categorical_focal_crossentropy)

    def __init__(
        self,
        alpha: Any = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = DEFAULT_REDUCTION,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            reduction,
            name,
            dtype,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=check_smoothing(label_smoothing),
            axis=axis,
        )
