"""Logits that travel with the probabilities made of them, so that losses take no logarithms of rounded numbers.

Layers that end in a softmax or a sigmoid keep its argument on their output. A cross-entropy that finds it there is
exact where probabilities are below 1e-7, and has a gradient there, as in Keras on tensorflow. An operation that makes a
new tensor drops it, and so does `torch.compile`. Where either tensor was changed since, or a gradient is asked for that
the logits would not give, losses take the probabilities as they are.
"""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["detached", "drop_logits", "hand_on_logits", "keep_logits", "logits_of"]

ATTRIBUTE = "_penalize_logits"
UNCOUNTED = -1

# Logits, the axis of their softmax (None: a sigmoid), and how often both tensors had been changed in place by then.
# A plain tuple, which torch.load reads as it reads tensors.
Kept = tuple[torch.Tensor, int | None, tuple[int, int]]


def keep_logits(probabilities: torch.Tensor, logits: torch.Tensor, axis: int | None) -> torch.Tensor:
    """The probabilities, with the logits whose softmax along `axis` they are; with None, whose sigmoid."""
    if not torch.compiler.is_compiling():
        own = logits.detach() if logits.requires_grad and not probabilities.requires_grad else logits
        _keep(probabilities, own, None if axis is None else axis % max(logits.ndim, 1))
    return probabilities


def logits_of(value: Any, axis: int | None) -> torch.Tensor | None:
    """The logits that a tensor carries, if it is their softmax along `axis` (their sigmoid for None) still.

    >>> probabilities = keep_logits(torch.tensor([[0.5, 0.5]]), torch.zeros(1, 2), -1)
    >>> logits_of(probabilities, 1)
    tensor([[0., 0.]])
    >>> logits_of(probabilities, 0) is None
    True
    """
    kept: Kept | None = getattr(value, ATTRIBUTE, None)
    if kept is None:
        return None
    wanted = None if axis is None else axis % max(value.ndim, 1)
    return kept[0] if kept[1] == wanted and _stand_for(kept, value) else None


def hand_on_logits(value: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """`other`, which holds the same probabilities in another dtype, with the logits of `value`."""
    kept: Kept | None = getattr(value, ATTRIBUTE, None)
    if kept is not None and other is not value and _stand_for(kept, value):
        _keep(other, kept[0], kept[1])
    return other


def detached(value: torch.Tensor) -> torch.Tensor:
    """`value` without its gradient, and so the logits that it carries."""
    other = value.detach()
    kept: Kept | None = getattr(value, ATTRIBUTE, None)
    if kept is not None and _stand_for(kept, value):
        _keep(other, kept[0].detach(), kept[1])
    return other


def drop_logits(value: torch.Tensor) -> None:
    """Let a tensor that is kept for long hold no other one."""
    if hasattr(value, ATTRIBUTE):
        delattr(value, ATTRIBUTE)


def _keep(value: torch.Tensor, logits: torch.Tensor, place: int | None) -> None:
    setattr(value, ATTRIBUTE, (logits, place, (_version(value), _version(logits))))


def _stand_for(kept: Kept, value: torch.Tensor) -> bool:
    """Whether a loss may take the logits in the place of the probabilities `value`."""
    logits, _, versions = kept
    if versions != (_version(value), _version(logits)):
        return False
    # A gradient that is asked for at the probabilities, or that begins with them, as behind a reentrant checkpoint.
    if value.requires_grad and (value.is_leaf or value.retains_grad or value._backward_hooks):
        return False
    if value.requires_grad != logits.requires_grad:
        return False
    return UNCOUNTED not in versions or _made_again(kept, value)


def _made_again(kept: Kept, value: torch.Tensor) -> bool:
    """Whether the logits still give these probabilities, asked where torch counts no changes."""
    logits, place, _ = kept
    made = torch.sigmoid(logits) if place is None else torch.softmax(logits, place)
    try:
        return torch.equal(made.to(value.dtype), value)
    except RuntimeError:  # inside vmap, which answers no such question
        return False


def _version(tensor: torch.Tensor) -> int:
    """How often a tensor was changed in place; torch does not count it for those of inference mode."""
    return UNCOUNTED if tensor.is_inference() else tensor._version
