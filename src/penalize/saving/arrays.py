"""Tensors as the arrays that files hold, and back; NumPy has no bfloat16, which files hold as two raw bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

__all__ = ["RAW_BFLOAT16", "as_array", "empty_for", "fits", "from_array"]

RAW_BFLOAT16 = np.dtype("V2")


def as_array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """The values of a tensor, without a copy where they lie in order on the CPU."""
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(RAW_BFLOAT16)
    array: np.ndarray[Any, Any] = tensor.numpy()
    return array


def fits(stored: np.dtype[Any], wanted: torch.dtype) -> bool:
    """Whether values of a file's dtype can be taken for a tensor of this one: floating for floating, else the same."""
    if wanted.is_floating_point:
        # HDF5 also knows floats of 10 and 16 bytes, which torch does not.
        return stored == RAW_BFLOAT16 or (stored.kind == "f" and stored.itemsize in (2, 4, 8))
    return stored.kind in "iub" and from_array(np.empty(0, stored)).dtype == wanted


def empty_for(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """An array to read a dataset into."""
    return np.empty(shape, dtype.newbyteorder("=") if dtype != RAW_BFLOAT16 else dtype)


def from_array(array: np.ndarray[Any, Any]) -> torch.Tensor:
    """The tensor of an array, which shares its memory."""
    if array.dtype == RAW_BFLOAT16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    if array.dtype.kind == "b":
        # A file can hold any byte where True or False belongs.
        array = array.view(np.uint8) != 0
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    return torch.from_numpy(array)
