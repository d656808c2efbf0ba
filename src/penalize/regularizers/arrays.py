"""Which array library a tensor belongs to, and the dtype that penalties of it are summed in."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np
import torch

from penalize.errors import ArrayError

__all__ = ["namespace", "no_terms", "stop_gradient", "widen"]


def namespace(x: Any) -> ModuleType:
    """The functions (sum, abs, matmul, ...) of the library that `x` belongs to: torch, NumPy or another array library.

    Raises `ArrayError` when `x` is not an array.
    """
    if isinstance(x, torch.Tensor):
        return torch
    if isinstance(x, np.ndarray | np.generic):
        return np
    if array_api_compat.is_array_api_obj(x):
        library: ModuleType = array_api_compat.array_namespace(x)
        return library
    raise ArrayError(f"a regularizer takes a tensor or an array, got {type(x).__name__}: {x!r:.80}")


def widen(x: Any, regularizer: str) -> Any:
    """The array `x` in the dtype that its penalty is summed in: float32, or float64 where x is float64.

    Raises `ArrayError`, naming the regularizer, for integers, booleans and complex numbers.
    """
    if isinstance(x, torch.Tensor):
        if x.dtype in (torch.float32, torch.float64):
            return x
        if x.dtype.is_floating_point:
            return x.float()
    elif namespace(x) and str(x.dtype) in ("float32", "float64", "float128", "longdouble"):
        return x
    elif "float" in str(x.dtype):
        return x.astype("float32")
    raise ArrayError(f"{regularizer} takes real floating-point values, got dtype {x.dtype} of shape {tuple(x.shape)}")


def no_terms(x: Any) -> Any:
    """The sum over none of the elements of `x`: exactly 0, whatever they hold, and still part of the graph."""
    return namespace(x).sum(x.reshape(-1)[:0])


def stop_gradient(x: Any) -> Any:
    """`x` as a constant for autograd; arrays of other libraries come back as they are."""
    return x.detach() if isinstance(x, torch.Tensor) else x
