"""Grids of strengths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from penalize.errors import ArgumentError, StrengthError
from penalize.regularizers.strength import as_strength, strength_number

__all__ = ["DEFAULT_GRID", "check_strengths", "grid_below", "parse_grid"]

DEFAULT_GRID = "1e-6:1:24"
DECADES_BELOW = 4
COUNT_BELOW = 24


def parse_grid(text: str) -> list[float]:
    """`count` strengths from `low` to `high`, both included, evenly spaced in their logarithms: "low:high:count".

    Raises ArgumentError when that is not what the text says, or not 0 < low < high (low = high for a count of 1).

    >>> parse_grid("0.01:1:3")
    [0.01, 0.1, 1.0]
    """
    expected = (
        f"strengths must be low:high:count with 0 < low < high and count >= 1, such as {DEFAULT_GRID}, got {text!r}"
    )
    parts = text.split(":")
    if len(parts) != 3:
        raise ArgumentError(expected)
    try:
        low, high, count = float(parts[0]), float(parts[1]), int(parts[2])
    except ValueError:
        raise ArgumentError(expected) from None
    if not (0 < low < math.inf and 0 < high < math.inf and count >= 1):
        raise ArgumentError(expected)
    if (count == 1) != (low == high) or low > high:
        raise ArgumentError(expected)
    grid = np.geomspace(low, high, count)
    return [float(f"{strength:.12g}") for strength in grid]


def grid_below(highest: float) -> list[float]:
    """24 strengths of the 4 decades below the one that makes all weights zero, which is the last.

    >>> grid = grid_below(2.0)
    >>> len(grid), grid[0], grid[-1]
    (24, 0.0002, 2.0)
    """
    return [float(strength) for strength in np.geomspace(highest / 10**DECADES_BELOW, highest, COUNT_BELOW)]


def check_strengths(strengths: Any) -> list[float]:
    """Strengths as positive numbers in ascending order. Raises StrengthError or ArgumentError, naming the value."""
    if not isinstance(strengths, list | tuple | np.ndarray) or not len(strengths):
        raise ArgumentError(f"strengths must be a list of positive numbers, got {strengths!r}")
    numbers = [strength_number(as_strength(strength, "strengths")) for strength in strengths]
    for number in numbers:
        if number == 0:
            raise StrengthError("strengths must be above 0: a strength of 0 has no place on a logarithmic axis")
    if len(set(numbers)) < len(numbers):
        raise ArgumentError(f"strengths must differ from each other, got {sorted(numbers)}")
    return sorted(numbers)
