"""The base class of initializers, and the checks of what they are given."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch

from penalize.errors import ArgumentError

__all__ = ["Initializer", "as_shape"]


class Initializer:
    """A function from the shape of a weight, in Keras layout, and a dtype to a tensor.

    A subclass defines `__call__(shape, dtype=None)`. Its constructor's arguments are attributes of the same names,
    or it defines `get_config` too. Source: Keras 3.15.1, `keras.initializers.Initializer`.

    >>> import math, torch
    >>> class Counting(Initializer):
    ...     def __call__(self, shape, dtype=None):
    ...         return torch.arange(math.prod(shape), dtype=torch.float32).reshape(shape)
    >>> Counting()((2, 2))
    tensor([[0., 1.],
            [2., 3.]])
    """

    def __call__(self, shape: Any, dtype: Any = None) -> torch.Tensor:
        """The tensor; `dtype` is a torch dtype or its name, float32 by default."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(shape, dtype=None)")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return {argument: getattr(self, argument) for argument in inspect.signature(type(self)).parameters}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A new initializer with the arguments that `get_config` gave."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in self.get_config().items())})"


def as_shape(shape: Any) -> tuple[int, ...]:
    """A shape as a tuple of integers >= 0.

    >>> as_shape([3, None])
    Traceback (most recent call last):
    ...
    penalize.errors.ArgumentError: shape must be integers >= 0, got [3, None]
    """
    sizes = [shape] if isinstance(shape, int | np.integer) else shape
    if isinstance(sizes, Sequence) and all(
        isinstance(size, int | np.integer) and not isinstance(size, bool) and size >= 0 for size in sizes
    ):
        return tuple(int(size) for size in sizes)
    raise ArgumentError(f"shape must be integers >= 0, got {shape!r:.80}")
