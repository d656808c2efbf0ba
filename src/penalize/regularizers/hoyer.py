"""HoyerSquare: how evenly a tensor's size is spread over its elements, whatever that size is."""

from __future__ import annotations

from typing import Any

import torch

from penalize.registry import built_in
from penalize.regularizers.arrays import namespace, no_terms, stop_gradient, widen
from penalize.regularizers.base import Regularizer
from penalize.regularizers.strength import StrengthAttribute, is_zero, strength_number, times

__all__ = ["HoyerSquare"]


@built_in("regularizer", module="penalize.regularizers", names=["hoyer_square"])
class HoyerSquare(Regularizer):
    """`strength * sum(abs(x))**2 / sum(x**2)`: from `strength` (one nonzero element) to n times that (n alike).

    It does not change when x is multiplied by a number, so that it makes weights sparse without making them small.
    The penalty of zeros is 0, with a gradient of 0. Not convex.

    Takes a tensor of any shape (also NumPy and JAX arrays); returns a scalar, float32 for half precision. Its
    gradient is `2 * strength * r * (sign(x) - r * x)` with `r = sum(abs(x)) / sum(x**2)`. No proximal step.

    Parameters: `strength`, default 0.01 (also for `None`).

    Raises `StrengthError` for a bad strength, `ArrayError` for values that are not real floating-point numbers. Source:
    Yang, Wen and Li, DeepHoyer: learning sparser neural network with differentiable scale-invariant sparsity measures,
    2020.

    >>> import torch
    >>> HoyerSquare(0.1)(torch.tensor([3., -4., 0.]))
    tensor(0.1960)
    """

    strength = StrengthAttribute(default=0.01)

    def __init__(self, strength: Any = 0.01) -> None:
        self.strength = strength

    def __call__(self, x: Any) -> Any:
        wide = widen(x, "HoyerSquare")
        if is_zero(self.strength) or 0 in wide.shape:
            return no_terms(wide)
        xp = namespace(x)
        scaled, _ = _scaled(wide)
        squares = xp.sum(xp.square(scaled))
        squares = xp.where(squares == 0, xp.ones_like(squares), squares)
        return times(self.strength, xp.square(xp.sum(xp.abs(scaled))) / squares)

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        wide = widen(x, "HoyerSquare")
        if is_zero(self.strength) or not wide.numel():
            return torch.zeros_like(x)
        scaled, scale = _scaled(wide)
        squares = scaled.square().sum()
        ratio = scaled.abs().sum() / torch.where(squares == 0, torch.ones_like(squares), squares)
        found: torch.Tensor = (torch.sign(scaled) - ratio * scaled) * (2 * ratio / scale) * self.strength
        return found.to(x.dtype)

    def get_config(self) -> dict[str, Any]:
        return {"strength": strength_number(self.strength)}


def _scaled(x: Any) -> tuple[Any, Any]:
    """x divided by its largest absolute value, of which the penalty does not depend, and that value; 1 for zeros."""
    xp = namespace(x)
    largest = stop_gradient(xp.amax(xp.abs(x)))
    scale = xp.where(largest == 0, xp.ones_like(largest), largest)
    return x / scale, scale
