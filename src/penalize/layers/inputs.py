"""What a layer is called with: arrays and tensors, nested in lists, tuples and dicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from penalize.masks import mask_of, set_masks

__all__ = ["as_floating", "as_tensors", "cast", "dtypes_of", "shapes_of", "widened"]


def as_tensors(value: Any, dtype: torch.dtype | None, array_dtype: torch.dtype, device: torch.device | None) -> Any:
    """Arrays as tensors on `device`, floating ones in `array_dtype`; floating tensors in `dtype`, if one is given."""
    if isinstance(value, list | tuple):
        return type(value)([as_tensors(item, dtype, array_dtype, device) for item in value])
    if isinstance(value, dict):
        return {key: as_tensors(item, dtype, array_dtype, device) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        tensor = torch.from_numpy(np.require(value, requirements=["C", "W"]))
        tensor = tensor if device is None else tensor.to(device)
        value = tensor.to(array_dtype) if tensor.is_floating_point() else tensor
    return cast(value, dtype) if isinstance(value, torch.Tensor) else value


def cast(x: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    """A floating tensor in `dtype`, if one is given, with the mask that it carries; others as they are."""
    if dtype is None or x.dtype == dtype or not x.is_floating_point():
        return x
    other = x.to(dtype)
    set_masks(other, mask_of(x))
    return other


def as_floating(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Integers and booleans in the floating `dtype`; floating values as they are."""
    return x if x.is_floating_point() else x.to(dtype)


def widened(x: torch.Tensor) -> torch.Tensor:
    """Half precision and integers in float32, for sums over many entries; others as they are."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def shapes_of(value: Any) -> Any:
    """The shape of a tensor, or of each tensor in a nested structure; None for anything else."""
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    if isinstance(value, list | tuple):
        return [shapes_of(item) for item in value]
    if isinstance(value, dict):
        return {key: shapes_of(item) for key, item in value.items()}
    return None


def dtypes_of(value: Any) -> Any:
    """The dtype of a tensor, or of each tensor in a nested structure; None for anything else."""
    if isinstance(value, torch.Tensor):
        return value.dtype
    if isinstance(value, list | tuple):
        return [dtypes_of(item) for item in value]
    if isinstance(value, dict):
        return {key: dtypes_of(item) for key, item in value.items()}
    return None
