"""MCP and SCAD: sums over elements that begin like L1 and end flat, so that large weights are not shrunk."""

from __future__ import annotations

from typing import Any

import torch

from penalize.arguments import number
from penalize.registry import built_in
from penalize.regularizers.arrays import namespace, no_terms, widen
from penalize.regularizers.base import Regularizer
from penalize.regularizers.norms import soft_threshold
from penalize.regularizers.steps import step_of_each
from penalize.regularizers.strength import Strength, StrengthAttribute, is_zero, strength_number

__all__ = ["MCP", "SCAD"]


@built_in("regularizer", module="penalize.regularizers", names=["mcp"])
class MCP(Regularizer):
    """The minimax concave penalty: L1 whose slope falls evenly to 0.

    The sum over elements x of `strength * |x| - x**2 / (2 gamma)` where `|x| <= gamma * strength`, and of
    `gamma * strength**2 / 2` beyond. Not convex.

    Takes a tensor of any shape (also NumPy and JAX arrays); returns a scalar, float32 for half precision. Its
    gradient is `sign(x) * max(strength - |x| / gamma, 0)`. Its proximal step, exact for one `step` and for one of each
    element, is the firm threshold where `step < gamma`: 0 up to `step * strength`, x beyond `gamma * strength`,
    `soft / (1 - step / gamma)` between. For larger steps it is the global minimum, too: 0 up to
    `strength * sqrt(gamma * step)`, and x beyond.

    Parameters: `strength`, default 0.01 (also for `None`); `gamma`, above 1, default 3: the smaller, the sooner flat.

    Raises `StrengthError` for a bad strength, `ArgumentError` for another gamma, `ArrayError` for values that are not
    real floating-point numbers. Source: Zhang, Nearly unbiased variable selection under minimax concave penalty, 2010;
    skglm's `MCPenalty`.

    >>> import torch
    >>> MCP(1.0, gamma=3.0)(torch.tensor([0., 1., 5.]))
    tensor(2.3333)
    >>> MCP(1.0, gamma=3.0).prox(torch.tensor([1., 2., 5.]), 1.0)
    tensor([0.0000, 1.5000, 5.0000])
    """

    elementwise = True
    strength = StrengthAttribute(default=0.01)

    def __init__(self, strength: Any = 0.01, gamma: float = 3.0) -> None:
        self.strength = strength
        self.gamma = number("gamma", gamma, 1, above=True)

    def __call__(self, x: Any) -> Any:
        xp, wide = namespace(x), widen(x, "MCP")
        if is_zero(self.strength):
            return no_terms(wide)
        strength = _like(self.strength, wide)
        inside = xp.clip(xp.abs(wide), None, self.gamma * strength)
        return xp.sum(strength * inside - xp.square(inside) / (2 * self.gamma))

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        wide = widen(x, "MCP")
        slope = torch.clamp(_like(self.strength, wide) - wide.abs() / self.gamma, min=0)
        return (torch.sign(wide) * slope).to(x.dtype)

    def prox(self, x: torch.Tensor, step: float | torch.Tensor) -> torch.Tensor:
        wide = widen(x, "MCP")
        h, strength = step_of_each(wide, step, "MCP"), _like(self.strength, wide)
        size = wide.abs()
        small = h < self.gamma
        firm = soft_threshold(wide, h * strength) / torch.where(small, 1 - h / self.gamma, torch.ones_like(h))
        firm = torch.where(size <= self.gamma * strength, firm, wide)
        hard = torch.where(size > strength * torch.sqrt(self.gamma * h), wide, torch.zeros_like(wide))
        return torch.where(small, firm, hard).to(x.dtype)

    def get_config(self) -> dict[str, Any]:
        return {"strength": strength_number(self.strength), "gamma": self.gamma}


@built_in("regularizer", module="penalize.regularizers", names=["scad"])
class SCAD(Regularizer):
    """The smoothly clipped absolute deviation: L1 up to `strength`, from there with a slope that falls evenly to 0.

    The sum over elements x, with a = |x| and s = `strength`, of `s * a` where `a <= s`, of
    `(2 gamma s a - a**2 - s**2) / (2 (gamma - 1))` where `s < a <= gamma * s`, and of `s**2 * (gamma + 1) / 2`
    beyond. Not convex.

    Takes a tensor of any shape (also NumPy and JAX arrays); returns a scalar, float32 for half precision. Its
    gradient is `sign(x) * min(s, max(gamma * s - a, 0) / (gamma - 1))`. Its proximal step is exact for one `step` and
    for one of each element: where `step < gamma - 1`, the soft threshold up to `(1 + step) * s`, x beyond `gamma * s`
    and a line between; for larger steps the better of the two ends, so that it is the global minimum there, too.

    Parameters: `strength`, default 0.01 (also for `None`); `gamma`, above 2, default 3.7, the paper's a.

    Raises `StrengthError` for a bad strength, `ArgumentError` for another gamma, `ArrayError` for values that are not
    real floating-point numbers. Source: Fan and Li, Variable selection via nonconcave penalized likelihood and its
    oracle properties, 2001; skglm's `SCAD`.

    >>> import torch
    >>> SCAD(1.0)(torch.tensor([0., 1., 5.]))
    tensor(3.3500)
    >>> SCAD(1.0).prox(torch.tensor([1., 2., 5.]), 1.0)
    tensor([0., 1., 5.])
    """

    elementwise = True
    strength = StrengthAttribute(default=0.01)

    def __init__(self, strength: Any = 0.01, gamma: float = 3.7) -> None:
        self.strength = strength
        self.gamma = number("gamma", gamma, 2, above=True)

    def __call__(self, x: Any) -> Any:
        xp, wide = namespace(x), widen(x, "SCAD")
        if is_zero(self.strength):
            return no_terms(wide)
        strength = _like(self.strength, wide)
        return xp.sum(self._of_each(xp.abs(wide), strength))

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        wide = widen(x, "SCAD")
        strength = _like(self.strength, wide)
        slope = torch.clamp((self.gamma * strength - wide.abs()) / (self.gamma - 1), 0, None)
        return (torch.sign(wide) * torch.clip(slope, None, strength)).to(x.dtype)

    def prox(self, x: torch.Tensor, step: float | torch.Tensor) -> torch.Tensor:
        wide = widen(x, "SCAD")
        h, strength = step_of_each(wide, step, "SCAD"), _like(self.strength, wide)
        size, flat = wide.abs(), self.gamma * strength
        soft = torch.clamp(size - h * strength, min=0)
        small = h < self.gamma - 1
        bend = torch.where(small, self.gamma - 1 - h, torch.ones_like(h))
        line = ((self.gamma - 1) * size - flat * h) / bend
        one = torch.where(size > flat, size, torch.where(size > strength * (1 + h), line, soft))
        # For large steps the part between is concave, so that the minimum is in one of the outer parts.
        low, high = torch.clip(soft, None, strength), torch.clip(size, flat, None)
        low_cost = strength * low * h + torch.square(low - size) / 2
        high_cost = self._of_each(high, strength) * h + torch.square(high - size) / 2
        two = torch.where(low_cost <= high_cost, low, high)
        return (torch.sign(wide) * torch.where(small, one, two)).to(x.dtype)

    def _of_each(self, size: Any, strength: Strength) -> Any:
        """The penalty of each absolute value."""
        xp = namespace(size)
        first = xp.clip(size, None, strength)
        second = xp.clip(size, strength, self.gamma * strength) - strength
        # The slope falls from `strength` to 0 along (gamma - 1) * strength.
        return strength * first + second * (strength - second / (2 * (self.gamma - 1)))

    def get_config(self) -> dict[str, Any]:
        return {"strength": strength_number(self.strength), "gamma": self.gamma}


def _like(strength: Strength, x: Any) -> Strength:
    """The strength in the dtype of x; as a number for arrays of other libraries."""
    if not isinstance(strength, torch.Tensor):
        return strength
    return strength.to(device=x.device, dtype=x.dtype) if isinstance(x, torch.Tensor) else strength_number(strength)
