"""Targets and predictions as tensors of one device, one dtype and one shape."""

from __future__ import annotations

from typing import Any

import torch

from penalize.errors import ArgumentError, ShapeError
from penalize.logits import hand_on_logits

__all__ = [
    "EPSILON",
    "as_dtype",
    "float_pair",
    "in_dtype",
    "loose_pair",
    "match_shapes",
    "same_shape",
    "to_tensor",
    "wide_dtype",
]

# Keras's backend.epsilon(): the smallest probability and the smallest divisor.
EPSILON = 1e-7


def to_tensor(value: Any, device: torch.device | None = None) -> torch.Tensor:
    """A tensor as it is, an array, number or list as a tensor; on `device` if one is given.

    Python floats and lists of them become float32, as Keras has them.
    """
    tensor = value if isinstance(value, torch.Tensor) else torch.as_tensor(value)
    return tensor if device is None or tensor.device == device else tensor.to(device)


def as_dtype(dtype: Any) -> torch.dtype | None:
    """The floating torch dtype of a name ("float32"), or of a torch dtype; None stays None."""
    if dtype is None or (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        return dtype
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else None
    if isinstance(found, torch.dtype) and found.is_floating_point:
        return found
    raise ArgumentError(f"dtype must be None or the name of a floating dtype such as 'float32', got {dtype!r:.80}")


def wide_dtype(tensor: torch.Tensor) -> torch.dtype:
    """The dtype that losses of `tensor` are computed and summed in: float64 for float64, else float32."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def in_dtype(predicted: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Predictions in another dtype, with the logits that they carry."""
    return predicted if predicted.dtype == dtype else hand_on_logits(predicted, predicted.to(dtype))


def loose_pair(y_true: Any, y_pred: Any, dtype: torch.dtype | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Both as tensors of the predictions' device, the predictions in a wide floating dtype, for losses of any kind.

    Where the shapes are one, or differ by a last axis of size 1 alone, they become one (see `match_shapes`) and so do
    the dtypes; targets of another shape, such as indices of classes, stay as they are.
    """
    predicted = to_tensor(y_pred)
    target = to_tensor(y_true, predicted.device)
    predicted = in_dtype(predicted, dtype or wide_dtype(predicted))
    target, predicted = match_shapes(target, predicted)
    if target.shape == predicted.shape or target.is_floating_point():
        target = target.to(predicted.dtype)
    return target, predicted


def float_pair(
    y_true: Any, y_pred: Any, loss: str, dtype: torch.dtype | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both as tensors of the predictions' device, of one wide floating dtype and of one shape.

    Raises `ShapeError`, naming the loss and both shapes, when they do not fit.
    """
    predicted = to_tensor(y_pred)
    target = to_tensor(y_true, predicted.device)
    dtype = dtype or wide_dtype(predicted)
    return same_shape(target.to(dtype), in_dtype(predicted, dtype), loss)


def same_shape(y_true: torch.Tensor, y_pred: torch.Tensor, loss: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Both in one shape, by `match_shapes`; nothing is broadcast.

    Raises `ShapeError`, naming the loss and both shapes, when they do not fit or have no axis.
    """
    target, predicted = match_shapes(y_true, y_pred)
    if target.shape == predicted.shape and predicted.ndim > 0:
        return target, predicted
    wanted = "have the same shape" if target.shape != predicted.shape else "have an axis to average over"
    raise ShapeError(
        f"{loss}: y_true and y_pred must {wanted}, got y_true {tuple(y_true.shape)} and y_pred {tuple(y_pred.shape)}"
    )


def match_shapes(y_true: torch.Tensor, y_pred: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both in one shape, where they differ by a last axis of size 1 alone; others as they are.

    (batch,) with (batch, 1) become (batch, 1); at higher ranks that axis is dropped. Source: Keras 3.15.1.

    >>> one, two = match_shapes(torch.ones(3), torch.ones(3, 1))
    >>> tuple(one.shape), tuple(two.shape)
    ((3, 1), (3, 1))
    """
    if y_true.shape == (*y_pred.shape, 1) and y_pred.ndim > 0:
        return (y_true, y_pred.unsqueeze(-1)) if y_pred.ndim == 1 else (y_true.squeeze(-1), y_pred)
    if y_pred.shape == (*y_true.shape, 1) and y_true.ndim > 0:
        return (y_true.unsqueeze(-1), y_pred) if y_true.ndim == 1 else (y_true, y_pred.squeeze(-1))
    return y_true, y_pred
