"""The elastic net's second axis: how much of a penalty is L1 and how much L2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penalize.arguments import number
from penalize.errors import ArgumentError
from penalize.placement import Rules
from penalize.regularizers import L1L2, get
from penalize.regularizers.strength import strength_number

__all__ = ["check_mixing", "mixed"]


def check_mixing(mixing: Any) -> list[float]:
    """The shares of L1, different numbers from 0 to 1. ArgumentError, naming the value, for anything else."""
    if isinstance(mixing, str) or not isinstance(mixing, Sequence) or not len(mixing):
        raise ArgumentError(f"mixing must be a list of numbers from 0 to 1, got {mixing!r:.80}")
    shares = [number("mixing", share, 0.0, 1.0) for share in mixing]
    if len(set(shares)) < len(shares):
        raise ArgumentError(f"mixing must be numbers that differ from each other, got {shares}")
    return shares


def mixed(rules: Rules | None, share: float) -> Rules | None:
    """The rules with every `L1L2(l1, l2)` in them as `L1L2(l1 * share, l2 * (1 - share))`; others as they are.

    >>> mixed({"weight": L1L2(1.0, 2.0), "bias": None}, 0.25)
    {'weight': L1L2(l1=0.25, l2=1.5), 'bias': None}
    """
    return None if rules is None else {key: _mixed(identifier, share) for key, identifier in rules.items()}


def has_mixture(rules: Rules | None) -> bool:
    """Whether there is an `L1L2` among the rules."""
    return any(type(get(identifier)) is L1L2 for identifier in (rules or {}).values())


def _mixed(identifier: Any, share: float) -> Any:
    regularizer = get(identifier)
    if type(regularizer) is not L1L2:
        return identifier
    return L1L2(strength_number(regularizer.l1) * share, strength_number(regularizer.l2) * (1 - share))
