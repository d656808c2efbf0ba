"""The base class of constraints."""

from __future__ import annotations

import inspect
from typing import Any, Self

import torch

__all__ = ["Constraint"]


class Constraint:
    """A function from a weight, in Keras's layout, to the tensor of the same shape that replaces it after each step.

    A subclass defines `__call__(w)`. Its constructor's arguments are attributes of the same names, or it defines
    `get_config` too. Source: Keras 3.15.1, `keras.constraints.Constraint`, whose own call returns the weight as it is.

    >>> import torch
    >>> class Capped(Constraint):
    ...     def __init__(self, cap=1.0):
    ...         self.cap = cap
    ...     def __call__(self, w):
    ...         return w.clamp(max=self.cap)
    >>> Capped()(torch.tensor([0.5, 2.0]))
    tensor([0.5000, 1.0000])
    >>> Capped(3.0).get_config()
    {'cap': 3.0}
    """

    def __call__(self, w: Any) -> torch.Tensor:
        """The constrained weight: a new tensor of w's shape and dtype."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(w)")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return {argument: getattr(self, argument) for argument in inspect.signature(type(self)).parameters}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A new constraint with the arguments that `get_config` gave."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in self.get_config().items())})"
