"""The functions of `keras.ops` that custom regularizers on Keras's pages use, on torch tensors.

All take tensors, arrays, Python numbers and lists of them, also lists of tensors, and keep the graph. Python floats
become float32 and Python integers int32; arrays keep their dtype; integers give float32 where the result is a fraction.
Source: Keras 3.15.1, `keras.ops`.
"""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch.overrides import handle_torch_function

from penalize.arguments import as_dtype
from penalize.errors import ArrayError, ShapeError

__all__ = [
    "abs",
    "absolute",
    "cast",
    "convert_to_tensor",
    "eye",
    "matmul",
    "max",
    "mean",
    "ones",
    "reshape",
    "shape",
    "sqrt",
    "square",
    "sum",
    "transpose",
    "zeros",
]

Axis = int | Sequence[int] | None

# Sums and squares of small integers are int32.
_SMALL_INTEGERS = (torch.bool, torch.int8, torch.int16, torch.uint8)


Function = TypeVar("Function", bound=Callable[..., Any])


def _overridable(function: Function) -> Function:
    """Hand a call on to arguments that stand for tensors, as the symbolic ones of a `Model(inputs, outputs)` do."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        standing = [x for x in _leaves(args) if not isinstance(x, torch.Tensor) and hasattr(x, "__torch_function__")]
        if standing:
            return handle_torch_function(call, standing, *args, **kwargs)
        return function(*args, **kwargs)

    return call  # type: ignore[return-value]


@_overridable
def convert_to_tensor(x: Any, dtype: Any = None) -> torch.Tensor:
    """`x` as a tensor, of `dtype` (a name or a torch dtype) if one is given.

    Raises `ArrayError` for what holds no numbers and `ArgumentError` for an unknown dtype.

    >>> convert_to_tensor([1, 2.5])
    tensor([1.0000, 2.5000])
    """
    tensor = _tensor(x)
    return tensor if dtype is None else tensor.to(as_dtype(dtype))


@_overridable
def cast(x: Any, dtype: Any) -> torch.Tensor:
    """`x` in another dtype, given by its name ("float32") or as a torch dtype."""
    return _tensor(x).to(as_dtype(dtype))


def shape(x: Any) -> tuple[int, ...]:
    """The size of every axis.

    >>> shape(ones((2, 3)))
    (2, 3)
    """
    return tuple(x.shape if hasattr(x, "__torch_function__") else _tensor(x).shape)


def ones(shape: int | Sequence[int], dtype: Any = None) -> torch.Tensor:
    """A tensor of ones, float32 by default."""
    return torch.ones(shape, dtype=as_dtype(dtype))


def zeros(shape: int | Sequence[int], dtype: Any = None) -> torch.Tensor:
    """A tensor of zeros, float32 by default."""
    return torch.zeros(shape, dtype=as_dtype(dtype))


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> torch.Tensor:
    """An N x M matrix (N x N by default) with ones on diagonal `k` (above the main one if positive), zeros elsewhere.

    >>> eye(2, 3, k=1)
    tensor([[0., 1., 0.],
            [0., 0., 1.]])
    """
    rows = torch.arange(N).unsqueeze(1)
    columns = torch.arange(N if M is None else M)
    return (columns - rows == k).to(as_dtype(dtype))


@_overridable
def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> torch.Tensor:
    """The sum over `axis`, by default over all; nothing sums to 0.

    >>> sum([torch.tensor(1.0), torch.tensor(2.0)])
    tensor(3.)
    >>> sum([])
    tensor(0.)
    """
    tensor = _tensor(x)
    axes = _axes(tensor, axis)
    kind = torch.int32 if tensor.dtype in _SMALL_INTEGERS else tensor.dtype
    return tensor.sum(axes, keepdim=keepdims, dtype=kind) if axes else tensor.to(kind)


@_overridable
def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> torch.Tensor:
    """The mean over `axis`, by default over all; float32 for integers."""
    tensor = _fractional(_tensor(x))
    axes = _axes(tensor, axis)
    return tensor.mean(axes, keepdim=keepdims) if axes else tensor


@_overridable
def max(x: Any, axis: Axis = None, keepdims: bool = False, initial: float | None = None) -> torch.Tensor:
    """The largest element over `axis`, by default of all, and at least `initial`.

    Raises `ShapeError` when there are no elements and no `initial`.
    """
    tensor = _tensor(x)
    axes = _axes(tensor, axis)
    if not axes:
        largest = tensor
    elif builtins.all(tensor.shape[one] for one in axes):
        largest = tensor.amax(axes, keepdim=keepdims)
    elif initial is None:
        raise ShapeError(f"nothing has no max: got shape {tuple(tensor.shape)}, axis {axis} and no initial")
    else:
        filled = torch.full_like(tensor.sum(axes, keepdim=keepdims), initial)
        return filled.to(tensor.dtype)
    return largest if initial is None else largest.clamp(min=initial)


@_overridable
def abs(x: Any) -> torch.Tensor:
    """The absolute value of every element."""
    tensor = _tensor(x)
    return tensor if tensor.dtype == torch.bool else tensor.abs()


absolute = abs


@_overridable
def square(x: Any) -> torch.Tensor:
    """The square of every element."""
    tensor = _tensor(x)
    return tensor.int() if tensor.dtype == torch.bool else tensor.square()


@_overridable
def sqrt(x: Any) -> torch.Tensor:
    """The square root of every element; float32 for integers."""
    return _fractional(_tensor(x)).sqrt()


@_overridable
def matmul(x1: Any, x2: Any) -> torch.Tensor:
    """The matrix product, in the dtype that both promote to.

    >>> matmul([[1.0, 2.0]], [[3.0], [4.0]])
    tensor([[11.]])
    """
    first, second = _tensor(x1), _tensor(x2)
    kind = torch.promote_types(first.dtype, second.dtype)
    return torch.matmul(first.to(kind), second.to(kind))


@_overridable
def transpose(x: Any, axes: Sequence[int] | None = None) -> torch.Tensor:
    """`x` with its axes in the order `axes`, by default reversed."""
    tensor = _tensor(x)
    return tensor.permute(tuple(reversed(range(tensor.ndim))) if axes is None else tuple(axes))


@_overridable
def reshape(x: Any, newshape: int | Sequence[int]) -> torch.Tensor:
    """`x` in another shape of as many elements; one size may be -1."""
    return _tensor(x).reshape((newshape,) if isinstance(newshape, int) else tuple(newshape))


def _tensor(x: Any) -> torch.Tensor:
    if isinstance(x, torch.Tensor):
        return x
    if isinstance(x, list | tuple):
        first = next((one for one in _leaves(x) if isinstance(one, torch.Tensor)), None)
        if first is not None:
            return torch.stack([_tensor(one).to(first.device) for one in x])
    array = np.asarray(x)
    if array.dtype.kind not in "biufc":
        raise ArrayError(f"expected a tensor, array, number or list of numbers, got {type(x).__name__}: {x!r:.80}")
    tensor = torch.from_numpy(array.copy()) if array.ndim else torch.tensor(array.item())
    if isinstance(x, int | float | complex | list | tuple):
        # Python's numbers have no width: those of Keras's default.
        narrow = {torch.float64: torch.float32, torch.int64: torch.int32, torch.complex128: torch.complex64}
        tensor = tensor.to(narrow.get(tensor.dtype, tensor.dtype))
    return tensor.to(torch.get_default_device())


def _leaves(x: Any) -> Any:
    for one in x:
        if isinstance(one, list | tuple):
            yield from _leaves(one)
        else:
            yield one


def _fractional(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.is_floating_point() or tensor.is_complex() else tensor.float()


def _axes(tensor: torch.Tensor, axis: Axis) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(tensor.ndim))
    return (axis,) if isinstance(axis, int) else tuple(axis)
