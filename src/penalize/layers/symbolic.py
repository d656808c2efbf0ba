"""Symbolic tensors: what `Input` gives, and what layers and torch functions make of it.

A symbolic tensor knows its shape, its dtype and the node that made it. Shapes are found by running each layer or
function on zeros, for two sizes of every axis that is not known: where results differ, the axis is not known either.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from penalize.errors import ArgumentError
from penalize.masks import mask_of, set_masks

__all__ = ["Node", "SymbolicTensor", "apply", "find_symbolic", "is_symbolic", "mapped", "symbolic_input"]

# The sizes that stand for an unknown batch size, and for other unknown sizes.
BATCHES = (2, 3)
SIZES = (32, 64)

_counter = itertools.count()


class Node:
    """One application of a layer or function to arguments that hold symbolic tensors; None for an input."""

    def __init__(self, function: Callable[..., Any] | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.number = next(_counter)
        self.outputs: Any = None

    def again(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The same application to other symbolic tensors; a layer is called, as only it restores its mode."""
        return function(*args, **kwargs) if isinstance(function, nn.Module) else apply(function, args, kwargs)

    @property
    def inputs(self) -> list[SymbolicTensor]:
        """The symbolic tensors among the arguments."""
        return find_symbolic([self.args, self.kwargs])


class SymbolicTensor:
    """A tensor of a model that is being described: `shape` (None for sizes that vary), `dtype`, and where it is from.

    Layers can be called with it, and torch functions and operators take it. Raises ArgumentError where values are asked
    for, which it has none of. Source: Keras 3.15.1, `keras.KerasTensor`.

    >>> import penalize
    >>> x = penalize.Input((4,))
    >>> (penalize.layers.Dense(3)(x) * 2).shape
    (None, 3)
    """

    def __init__(self, samples: Sequence[torch.Tensor], node: Node) -> None:
        first, second = samples
        self.samples = (_of_one_zero(first), _of_one_zero(second))
        self.shape = tuple(a if a == b else None for a, b in zip(first.shape, second.shape, strict=True))
        self.dtype = first.dtype
        self.device = first.device
        self.node = node

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __repr__(self) -> str:
        return f"SymbolicTensor(shape={self.shape}, dtype={str(self.dtype).removeprefix('torch.')})"

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return apply(function, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        # The methods of tensors, such as `x.sum(1)`.
        method = None if name.startswith("_") else getattr(torch.Tensor, name, None)
        if not callable(method):
            raise AttributeError(f"a SymbolicTensor has no {name!r}")
        return lambda *args, **kwargs: apply(method, (self, *args), kwargs)

    def __getitem__(self, key: Any) -> Any:
        return apply(operator.getitem, (self, key), {})

    def __bool__(self) -> bool:
        raise ArgumentError(f"{self!r} has no values yet: conditions on values belong into the call of a Layer")

    def __iter__(self) -> Any:
        raise ArgumentError(f"{self!r} cannot be iterated over: use x[:, 0] or torch.unbind in the call of a Layer")

    def __neg__(self) -> Any:
        return apply(operator.neg, (self,), {})

    def __add__(self, other: Any) -> Any:
        return apply(operator.add, (self, other), {})

    def __radd__(self, other: Any) -> Any:
        return apply(operator.add, (other, self), {})

    def __sub__(self, other: Any) -> Any:
        return apply(operator.sub, (self, other), {})

    def __rsub__(self, other: Any) -> Any:
        return apply(operator.sub, (other, self), {})

    def __mul__(self, other: Any) -> Any:
        return apply(operator.mul, (self, other), {})

    def __rmul__(self, other: Any) -> Any:
        return apply(operator.mul, (other, self), {})

    def __truediv__(self, other: Any) -> Any:
        return apply(operator.truediv, (self, other), {})

    def __rtruediv__(self, other: Any) -> Any:
        return apply(operator.truediv, (other, self), {})

    def __pow__(self, other: Any) -> Any:
        return apply(operator.pow, (self, other), {})

    def __lt__(self, other: Any) -> Any:
        return apply(operator.lt, (self, other), {})

    def __le__(self, other: Any) -> Any:
        return apply(operator.le, (self, other), {})

    def __gt__(self, other: Any) -> Any:
        return apply(operator.gt, (self, other), {})

    def __ge__(self, other: Any) -> Any:
        return apply(operator.ge, (self, other), {})

    def __matmul__(self, other: Any) -> Any:
        return apply(operator.matmul, (self, other), {})


def _of_one_zero(sample: torch.Tensor) -> torch.Tensor:
    """Zeros of the same shape, and the same mask, that take no memory."""
    zeros = sample.new_zeros(()).expand(sample.shape)
    set_masks(zeros, mask_of(sample))
    return zeros


def symbolic_input(layer: Any, batch_shape: Sequence[int | None], dtype: torch.dtype) -> SymbolicTensor:
    """The symbolic tensor that an InputLayer stands for."""
    samples = []
    for batch, size in zip(BATCHES, SIZES, strict=True):
        shape = [(batch if axis == 0 else size) if n is None else n for axis, n in enumerate(batch_shape)]
        samples.append(torch.zeros(shape, dtype=dtype))
    node = Node(None, (), {})
    tensor = SymbolicTensor(samples, node)
    node.outputs = tensor
    node.function = layer
    return tensor


@torch.no_grad()
def apply(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a layer or function makes of symbolic arguments: symbolic tensors, nested as its outputs are."""
    node = Node(function, args, kwargs)
    for value in [*args, *kwargs.values()]:
        if isinstance(value, nn.Parameter):
            raise ArgumentError(
                "a torch module was called with a SymbolicTensor; put it into a layer: "
                "penalize.layers.TorchModuleWrapper(module)"
            )
    first, second = (function(*_sample(args, index), **_sample(kwargs, index)) for index in (0, 1))
    node.outputs = _paired(first, second, node)
    if not find_symbolic([node.outputs]):
        raise ArgumentError(f"{function!r:.80} must give tensors, got {type(first).__name__}")
    return node.outputs


def is_symbolic(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether any argument is or holds a symbolic tensor."""
    for value in (*args, *kwargs.values()):
        if type(value) is SymbolicTensor or (isinstance(value, list | tuple | dict) and find_symbolic(value)):
            return True
    return False


def find_symbolic(value: Any) -> list[SymbolicTensor]:
    """The symbolic tensors in nested lists, tuples and dicts, in order."""
    if isinstance(value, SymbolicTensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [found for item in value for found in find_symbolic(item)] if isinstance(value, list | tuple) else []


def mapped(value: Any, function: Callable[[SymbolicTensor], Any]) -> Any:
    """The same nested structure with `function` of each symbolic tensor in it."""
    if isinstance(value, SymbolicTensor):
        return function(value)
    if isinstance(value, dict):
        return {key: mapped(item, function) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [mapped(item, function) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _sample(value: Any, index: int) -> Any:
    return mapped(value, lambda tensor: tensor.samples[index])


def _paired(first: Any, second: Any, node: Node) -> Any:
    if isinstance(first, torch.Tensor):
        return SymbolicTensor((first, second), node)
    if isinstance(first, dict):
        return {key: _paired(item, second[key], node) for key, item in first.items()}
    if isinstance(first, list | tuple):
        return [_paired(a, b, node) for a, b in zip(first, second, strict=True)]
    return first
