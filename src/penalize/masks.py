"""Masks of timesteps that travel with a tensor: which entries are real, False where they are padding.

A mask is a boolean tensor (batch, time) that is kept on the tensor itself, as Keras keeps it: an operation that makes a
new tensor drops it, and layers that understand masks hand it on.
"""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["mask_of", "masks_of", "set_masks"]

ATTRIBUTE = "_keras_mask"


def mask_of(value: Any) -> Any:
    """The mask that a tensor carries, or None.

    >>> mask_of(torch.ones(2, 3)) is None
    True
    """
    return getattr(value, ATTRIBUTE, None)


def masks_of(value: Any) -> Any:
    """The mask of a tensor; for nested lists, tuples and dicts the same structure of masks, or None without any."""
    if isinstance(value, torch.Tensor):
        return mask_of(value)
    if isinstance(value, list | tuple):
        masks = [masks_of(item) for item in value]
        return masks if any(mask is not None for mask in masks) else None
    if isinstance(value, dict):
        named = {key: masks_of(item) for key, item in value.items()}
        return named if any(mask is not None for mask in named.values()) else None
    return mask_of(value)


def set_masks(value: Any, masks: Any) -> None:
    """Put masks on tensors of the same nested structure; tensors that carry one keep it."""
    if masks is None:
        return
    if isinstance(value, torch.Tensor):
        if mask_of(value) is None and not isinstance(masks, list | tuple | dict):
            setattr(value, ATTRIBUTE, masks)
    elif isinstance(value, list | tuple) and isinstance(masks, list | tuple):
        for item, mask in zip(value, masks, strict=False):
            set_masks(item, mask)
    elif isinstance(value, dict) and isinstance(masks, dict):
        for key, item in value.items():
            set_masks(item, masks.get(key))
