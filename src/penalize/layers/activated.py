"""Applying the activation at the end of a layer."""

from __future__ import annotations

from collections.abc import Callable

import torch

from penalize import activations
from penalize.logits import keep_logits

__all__ = ["activated"]


def activated(activation: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """`activation(x)`; a softmax or a sigmoid carries x for the loss."""
    output = activation(x)
    if activation is activations.softmax:
        return keep_logits(output, x, -1)
    return keep_logits(output, x, None) if activation is activations.sigmoid else output
