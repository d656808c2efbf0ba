"""L1, L2 and L1L2: sums of absolute values and of squares."""

from __future__ import annotations

from typing import Any

import torch

from penalize.registry import built_in
from penalize.regularizers.arrays import namespace, no_terms, widen
from penalize.regularizers.base import Regularizer
from penalize.regularizers.strength import Strength, StrengthAttribute, is_zero, strength_number, times

__all__ = ["L1", "L1L2", "L2", "l1_l2"]


def sum_of_absolutes(x: Any, strength: Strength, regularizer: str) -> Any:
    """strength * sum(abs(x)), summed in float32 at least; exactly 0 for strength 0."""
    xp = namespace(x)
    wide = widen(x, regularizer)
    if is_zero(strength):
        return no_terms(wide)
    return times(strength, xp.sum(xp.abs(wide)))


def sum_of_squares(x: Any, strength: Strength, regularizer: str) -> Any:
    """strength * sum(x**2), summed in float32 at least; exactly 0 for strength 0."""
    xp = namespace(x)
    wide = widen(x, regularizer)
    if is_zero(strength):
        return no_terms(wide)
    return times(strength, xp.sum(xp.square(wide)))


def soft_threshold(x: torch.Tensor, threshold: float | torch.Tensor) -> torch.Tensor:
    """sign(x) * max(abs(x) - threshold, 0)."""
    return torch.sign(x) * torch.clamp(torch.abs(x) - threshold, min=0)


@built_in("regularizer", module="keras.regularizers", names=["l1"])
class L1(Regularizer):
    """The L1 penalty, `l1 * sum(abs(x))`.

    Takes a tensor of any shape (also NumPy and JAX arrays); returns a scalar, float32 for half precision. Its
    gradient is `l1 * sign(x)`, 0 at 0; its proximal step is the soft threshold at `step * l1`.

    Parameters: `l1`, the strength, default 0.01 (also for `None`); per unit of x, not divided by the number of
    elements.

    Raises `StrengthError` for a strength that is no finite real number >= 0, `ArrayError` for values that are not real
    floating-point numbers. Source: Keras 3.15.1; soft threshold: Parikh and Boyd, Proximal Algorithms, 2014, 6.5.2.

    >>> import torch
    >>> L1(0.1)(torch.tensor([[1., -2.], [3., -4.], [.5, 0.]]))
    tensor(1.0500)
    """

    elementwise = True
    convex = True
    l1 = StrengthAttribute(default=0.01)

    def __init__(self, l1: Any = 0.01) -> None:
        self.l1 = l1

    def __call__(self, x: Any) -> Any:
        return sum_of_absolutes(x, self.l1, "L1")

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sign(x) * self.l1

    def prox(self, x: torch.Tensor, step: float | torch.Tensor) -> torch.Tensor:
        return soft_threshold(x, step * self.l1)

    def get_config(self) -> dict[str, Any]:
        return {"l1": strength_number(self.l1)}


@built_in("regularizer", module="keras.regularizers", names=["l2"])
class L2(Regularizer):
    """The L2 penalty, `l2 * sum(x**2)`: no factor one half.

    Takes a tensor of any shape (also NumPy and JAX arrays); returns a scalar, float32 for half precision. Its
    gradient is `2 * l2 * x`; its proximal step is `x / (1 + 2 * step * l2)`.

    Parameters: `l2`, the strength, default 0.01 (also for `None`); per square of x's unit, not divided by the number
    of elements.

    Raises `StrengthError` for a strength that is no finite real number >= 0, `ArrayError` for values that are not real
    floating-point numbers. Source: Keras 3.15.1; proximal step: Parikh and Boyd, Proximal Algorithms, 2014, 2.2.

    >>> import torch
    >>> L2(2.)(torch.ones(5, 5))
    tensor(50.)
    >>> L2(1e-4)(torch.ones(1000, 1000, dtype=torch.float16))
    tensor(100.)
    """

    elementwise = True
    convex = True
    l2 = StrengthAttribute(default=0.01)

    def __init__(self, l2: Any = 0.01) -> None:
        self.l2 = l2

    def __call__(self, x: Any) -> Any:
        return sum_of_squares(x, self.l2, "L2")

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        return x * (2 * self.l2)

    def prox(self, x: torch.Tensor, step: float | torch.Tensor) -> torch.Tensor:
        return x / (1 + 2 * step * self.l2)

    def get_config(self) -> dict[str, Any]:
        return {"l2": strength_number(self.l2)}


@built_in("regularizer", module="keras.regularizers", names=["l1l2"])
class L1L2(Regularizer):
    """The elastic net's penalty, `l1 * sum(abs(x)) + l2 * sum(x**2)`.

    Takes a tensor of any shape (also NumPy and JAX arrays); returns a scalar, float32 for half precision. Its
    gradient is `l1 * sign(x) + 2 * l2 * x`; its proximal step is the soft threshold at `step * l1`, divided by
    `1 + 2 * step * l2`.

    Parameters: `l1` and `l2`, the strengths, default 0 (also for `None`).

    Raises `StrengthError` for a strength that is no finite real number >= 0, `ArrayError` for values that are not real
    floating-point numbers. Source: Keras 3.15.1; proximal step: Parikh and Boyd, Proximal Algorithms, 2014, 6.5.3.

    >>> import torch
    >>> L1L2(0.1, 0.2)(torch.tensor([[1., -2.], [3., -4.], [.5, 0.]]))
    tensor(7.1000)
    """

    elementwise = True
    convex = True
    l1 = StrengthAttribute(default=0.0)
    l2 = StrengthAttribute(default=0.0)

    def __init__(self, l1: Any = 0.0, l2: Any = 0.0) -> None:
        self.l1 = l1
        self.l2 = l2

    def __call__(self, x: Any) -> Any:
        return sum_of_absolutes(x, self.l1, "L1L2") + sum_of_squares(x, self.l2, "L1L2")

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sign(x) * self.l1 + x * (2 * self.l2)

    def prox(self, x: torch.Tensor, step: float | torch.Tensor) -> torch.Tensor:
        return soft_threshold(x, step * self.l1) / (1 + 2 * step * self.l2)

    def get_config(self) -> dict[str, Any]:
        return {"l1": strength_number(self.l1), "l2": strength_number(self.l2)}


def strengths_of(regularizer: Any) -> tuple[float, float] | None:
    """The strengths of absolutes and of squares, where a regularizer is the sum of these and they are plain numbers."""
    kind = type(regularizer)
    l1 = regularizer.l1 if kind in (L1, L1L2) else 0.0
    l2 = regularizer.l2 if kind in (L2, L1L2) else 0.0
    if kind not in (L1, L2, L1L2) or not (isinstance(l1, float) and isinstance(l2, float)):
        return None
    return l1, l2


def sum_of_both(x: torch.Tensor, l1: float, l2: float) -> torch.Tensor:
    """l1 * sum(abs(x)) + l2 * sum(x**2), of which one may be 0, for tensors of float32 or float64."""
    if not l2:
        return x.abs().sum() * l1
    squares = x.square().sum() * l2
    return x.abs().sum() * l1 + squares if l1 else squares


def l1_l2(l1: Any = 0.01, l2: Any = 0.01) -> L1L2:
    """`L1L2` with the strengths 0.01 and 0.01 by default, as Keras documents for this name.

    >>> l1_l2()
    L1L2(l1=0.01, l2=0.01)
    """
    return L1L2(l1, l2)
