"""The proximal step of the sum of the groups' lengths, also where each element has a step size of its own."""

from __future__ import annotations

import torch

from penalize.regularizers.groups import lengths
from penalize.regularizers.strength import Strength

__all__ = ["shrink_groups"]

# Halvings of the exponents' range, which is about 2**64 in float64, then Newton steps from near.
BISECTIONS = 6
NEWTON_STEPS = 5


def shrink_groups(rows: torch.Tensor, step: float | torch.Tensor, strength: Strength) -> torch.Tensor:
    """argmin over w of sum over rows(strength * ||w|| + sum((w - z)**2 / (2 step))), exactly; z are `rows`.

    With one step for all elements it is z * max(1 - step * strength / ||z||, 0) (Yuan and Lin, 2006). With a step h of
    each (a tensor of the shape of `rows`), a row is zero iff ||z / h|| <= strength, and else
    z * n / (n + h * strength), in which n, its length, solves ||z / (n + h * strength)|| = 1.

    Takes a matrix of float32 or float64 with at least one column.
    """
    if not isinstance(step, torch.Tensor) or step.ndim == 0:
        length = lengths(rows)
        kept = torch.clamp(1 - step * strength / torch.where(length == 0, torch.ones_like(length), length), min=0)
        return rows * kept[:, None]
    largest = rows.abs().amax(1, keepdim=True)
    scale = torch.where(largest == 0, torch.ones_like(largest), largest)
    z, shift = rows.abs() / scale, step * strength / scale
    length, zero = _solve(z, shift)
    kept = length / torch.where(length + shift == 0, torch.ones_like(shift), length + shift)
    return torch.where(zero, torch.zeros_like(rows), rows * kept)


def _solve(z: torch.Tensor, shift: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The n of each row with ||z / (n + shift)|| = 1, and whether there is none, so that the row becomes zero.

    1 / ||z / (n + shift)|| is increasing and concave in n, so that a Newton step from anywhere ends at or below the
    root: a lower bound, from which further ones rise to it. Where steps differ by orders of magnitude that takes long
    from far below; so the root's order of magnitude is found first, by bisection. Rows have a largest z of 1.
    """
    length = lengths(z)[:, None]
    # Each term is at most 1 at the root, and so is that of the largest shift: bounds that keep all quotients finite.
    low = torch.maximum((z - shift).amax(1, keepdim=True), length - shift.amax(1, keepdim=True)).clamp(min=0)
    zero = (low == 0) & (_norm_and_newton(z, shift, low)[0] <= 1)
    low = torch.maximum(low, torch.finfo(z.dtype).eps * 1e-3 * length)
    high = length
    for _ in range(BISECTIONS):
        middle = torch.sqrt(low * high)
        norm, newton = _norm_and_newton(z, shift, middle)
        high = torch.where(norm < 1, middle, high)
        low = torch.maximum(torch.where(norm < 1, low, middle), newton)
    for _ in range(NEWTON_STEPS):
        low = torch.maximum(low, _norm_and_newton(z, shift, low)[1])
    return low, zero


def _norm_and_newton(z: torch.Tensor, shift: torch.Tensor, n: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """||z / (n + shift)||, and where a Newton step towards 1 / that = 1 ends."""
    bottom = n + shift
    bottom = torch.where(bottom == 0, torch.ones_like(bottom), bottom)
    squares = torch.square(z / bottom)
    square = squares.sum(1, keepdim=True)
    slope = (squares / bottom).sum(1, keepdim=True)
    norm = torch.sqrt(square)
    return norm, n + (norm - 1) * square / torch.where(slope == 0, torch.ones_like(slope), slope)
