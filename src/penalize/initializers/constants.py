"""Initializers without chance: zeros, ones, a constant, the identity. Source: Keras 3.15.1."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from penalize.arguments import as_dtype, number
from penalize.errors import ArgumentError, ShapeError
from penalize.initializers.base import Initializer, as_shape
from penalize.registry import built_in

__all__ = ["Constant", "Identity", "Ones", "Zeros"]


@built_in("initializer", module="keras.initializers", names=["zeros", "zero"])
class Zeros(Initializer):
    """All 0.

    >>> Zeros()((2,))
    tensor([0., 0.])
    """

    def __call__(self, shape: Any, dtype: Any = None) -> torch.Tensor:
        return torch.zeros(as_shape(shape), dtype=as_dtype(dtype))


@built_in("initializer", module="keras.initializers", names=["ones", "one"])
class Ones(Initializer):
    """All 1."""

    def __call__(self, shape: Any, dtype: Any = None) -> torch.Tensor:
        return torch.ones(as_shape(shape), dtype=as_dtype(dtype))


@built_in("initializer", module="keras.initializers", names=["constant"])
class Constant(Initializer):
    """`value`, a number (default 0), or an array, list or tensor that broadcasts to the shape.

    Raises `ArgumentError` for a value that is no number or numbers, `ShapeError` when it does not broadcast.

    >>> Constant(0.5)((2,))
    tensor([0.5000, 0.5000])
    """

    def __init__(self, value: Any = 0.0) -> None:
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu().numpy()
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise ArgumentError(f"value must be a number or an array of numbers, got {value!r:.80}")
        self.value = array.tolist()

    def __call__(self, shape: Any, dtype: Any = None) -> torch.Tensor:
        sizes = as_shape(shape)
        value = torch.tensor(self.value, dtype=as_dtype(dtype))
        try:
            return value.broadcast_to(sizes).clone()
        except RuntimeError:
            raise ShapeError(f"a value of shape {tuple(value.shape)} does not broadcast to shape {sizes}") from None


@built_in("initializer", module="keras.initializers", names=["identity", "IdentityInitializer"])
class Identity(Initializer):
    """`gain` (default 1) on the main diagonal of a matrix, 0 elsewhere.

    Raises `ShapeError` for a rank other than 2.

    >>> Identity(2.0)((2, 3))
    tensor([[2., 0., 0.],
            [0., 2., 0.]])
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = number("gain", gain)

    def __call__(self, shape: Any, dtype: Any = None) -> torch.Tensor:
        sizes = as_shape(shape)
        if len(sizes) != 2:
            raise ShapeError(f"Identity makes matrices (rank 2), got shape {sizes}")
        return (torch.eye(*sizes) * self.gain).to(as_dtype(dtype))
