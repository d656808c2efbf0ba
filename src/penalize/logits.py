"""Logits that travel with the probabilities made of them, so that losses take no logarithms of rounded numbers.

Layers that end in a softmax or a sigmoid keep its argument on their output. A cross-entropy that finds it there is
exact where probabilities are below 1e-7, and has a gradient there, as in Keras on tensorflow. An operation that makes a
new tensor drops it, and so does `torch.compile`.
"""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["drop_logits", "hand_on_logits", "keep_logits", "logits_of"]

ATTRIBUTE = "_penalize_logits"


def keep_logits(probabilities: torch.Tensor, logits: torch.Tensor, axis: int | None) -> torch.Tensor:
    """The probabilities, with the logits whose softmax along `axis` they are; with None, whose sigmoid."""
    if not torch.compiler.is_compiling():
        place = None if axis is None else axis % max(logits.ndim, 1)
        setattr(probabilities, ATTRIBUTE, (logits, place, _version(probabilities)))
    return probabilities


def logits_of(value: Any, axis: int | None) -> torch.Tensor | None:
    """The logits that a tensor carries, if it is their softmax along `axis` (their sigmoid for None) still.

    >>> probabilities = keep_logits(torch.tensor([[0.5, 0.5]]), torch.zeros(1, 2), -1)
    >>> logits_of(probabilities, 1)
    tensor([[0., 0.]])
    >>> logits_of(probabilities, 0) is None
    True
    """
    kept = getattr(value, ATTRIBUTE, None)
    if kept is None:
        return None
    logits, place, version = kept
    wanted = None if axis is None else axis % max(value.ndim, 1)
    found: torch.Tensor | None = logits if place == wanted and version == _version(value) else None
    return found


def hand_on_logits(value: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """`other`, which holds the same probabilities in another dtype, with the logits of `value`."""
    kept = getattr(value, ATTRIBUTE, None)
    if kept is not None and other is not value and kept[2] == _version(value):
        setattr(other, ATTRIBUTE, (*kept[:2], _version(other)))
    return other


def drop_logits(value: torch.Tensor) -> None:
    """Let a tensor that is kept for long hold no other one."""
    if hasattr(value, ATTRIBUTE):
        delattr(value, ATTRIBUTE)


def _version(tensor: torch.Tensor) -> int:
    """How often a tensor was changed in place; torch does not count it under inference mode."""
    return -1 if tensor.is_inference() else tensor._version
