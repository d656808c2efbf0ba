"""Symbolic tensors: what `Input` gives, and what layers and torch functions make of it.

A symbolic tensor knows its shape, its dtype and the node that made it. Shapes are found by running each layer or
function on zeros, for two sizes of every axis that is not known: where results differ, the axis is not known either.
"""

from __future__ import annotations

import contextlib
import itertools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from penalize.errors import ArgumentError, ShapeError
from penalize.masks import mask_of, set_masks

__all__ = [
    "Node",
    "SymbolicTensor",
    "apply",
    "find_symbolic",
    "in_trial",
    "is_symbolic",
    "mapped",
    "symbolic_input",
    "trial",
]

# The sizes that stand for an unknown batch size, and for other unknown sizes.
BATCHES = (2, 3)
SIZES = (32, 64)
# Where those are too small for a layer, it is tried with this many times as much.
LARGER = 32

PUT_INTO_A_LAYER = "put it into a layer: penalize.layers.TorchModuleWrapper(module)"

_counter = itertools.count()
_trials: list[None] = []


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


def _operator(function: Callable[..., Any], swapped: bool = False) -> Any:
    """The method of a binary operator; arrays are taken in the dtype of the symbolic tensor, if both are floating."""

    def method(self: SymbolicTensor, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            floats = self.dtype.is_floating_point and other.dtype.kind == "f"
            other = torch.as_tensor(other, dtype=self.dtype if floats else None)
        return apply(function, (other, self) if swapped else (self, other), {})

    return method


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

    def sample(self, index: int, larger: int = 1) -> torch.Tensor:
        """Zeros that stand for this tensor; with unknown sizes, but that of axis 0, that many times as large."""
        sample = self.samples[index]
        if larger == 1:
            return sample
        known = zip(sample.shape, self.shape, strict=True)
        sizes = [n if axis == 0 or size is not None else n * larger for axis, (n, size) in enumerate(known)]
        return sample.new_zeros(()).expand(sizes)

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

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise ArgumentError(f"{self!r} has no values yet: NumPy's functions belong into the call of a Layer")

    # So that NumPy leaves `array * x` to this class.
    __array_ufunc__ = None

    def __getstate__(self) -> dict[str, Any]:
        # Without the way back to the inputs, which copying would follow as deep as the model is: `Graph` restores it.
        return {**self.__dict__, "node": None if self.node.inputs else self.node}

    __add__, __radd__ = _operator(operator.add), _operator(operator.add, swapped=True)
    __sub__, __rsub__ = _operator(operator.sub), _operator(operator.sub, swapped=True)
    __mul__, __rmul__ = _operator(operator.mul), _operator(operator.mul, swapped=True)
    __matmul__, __rmatmul__ = _operator(operator.matmul), _operator(operator.matmul, swapped=True)
    __truediv__, __rtruediv__ = _operator(operator.truediv), _operator(operator.truediv, swapped=True)
    __floordiv__, __rfloordiv__ = _operator(operator.floordiv), _operator(operator.floordiv, swapped=True)
    __mod__, __rmod__ = _operator(operator.mod), _operator(operator.mod, swapped=True)
    __pow__, __rpow__ = _operator(operator.pow), _operator(operator.pow, swapped=True)
    __and__, __rand__ = _operator(operator.and_), _operator(operator.and_, swapped=True)
    __or__, __ror__ = _operator(operator.or_), _operator(operator.or_, swapped=True)
    __lt__, __le__ = _operator(operator.lt), _operator(operator.le)
    __gt__, __ge__ = _operator(operator.gt), _operator(operator.ge)
    __eq__, __ne__ = _operator(operator.eq), _operator(operator.ne)
    __hash__ = object.__hash__

    def __neg__(self) -> Any:
        return apply(operator.neg, (self,), {})

    def __abs__(self) -> Any:
        return apply(operator.abs, (self,), {})

    def __invert__(self) -> Any:
        return apply(operator.invert, (self,), {})


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
    trains = kwargs.get("training") is True and not isinstance(function, nn.Module)
    if trains or _holds_weight([*args, *kwargs.values()]):
        what = "trains whether the model does or not" if trains else "has weights that the model would not have"
        raise ArgumentError(
            f"a torch module or function was called with a SymbolicTensor, and {what}; {PUT_INTO_A_LAYER}"
        )
    unknown = [tensor.shape for tensor in node.inputs if None in tensor.shape[1:]]
    try:
        first, second = _tried(function, args, kwargs, unknown)
    except RuntimeError as error:
        name = getattr(function, "name", None) or getattr(function, "__name__", repr(function))
        if not unknown:
            raise ArgumentError(f"{name:.80} cannot take inputs of these shapes: {error}") from error
        try:
            first, second = _tried(function, args, kwargs, unknown, LARGER)
        except RuntimeError:
            raise ArgumentError(
                f"{name:.80} cannot take inputs of shape {unknown[0]} when each unknown size is {SIZES[0] * LARGER} or "
                f"less: {error}"
            ) from error
    node.outputs = _paired(first, second, node)
    if not find_symbolic([node.outputs]):
        raise ArgumentError(
            f"{getattr(function, '__name__', repr(function)):.80} of a SymbolicTensor must give tensors, got "
            f"{type(first).__name__}; if a torch module asks for it, {PUT_INTO_A_LAYER}"
        )
    return node.outputs


def _tried(function: Any, args: Any, kwargs: Any, unknown: list[Any], larger: int = 1) -> tuple[Any, Any]:
    """The results for the two samples of each argument; with unknown sizes that many times as large."""
    with trial():
        first = function(*_sample(args, 0, larger), **_sample(kwargs, 0, larger))
        try:
            return first, function(*_sample(args, 1, larger), **_sample(kwargs, 1, larger))
        except ShapeError as error:
            # The first sizes are those that weights were built for.
            if not unknown:
                raise
            raise ShapeError(f"an axis of inputs of shape {unknown[0]} must be known, not None: {error}") from error


def _holds_weight(value: Any) -> bool:
    """Whether any tensor in nested lists, tuples and dicts is a parameter, or made of one."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return any(_holds_weight(item) for item in value)
    return isinstance(value, nn.Parameter) or (isinstance(value, torch.Tensor) and value.requires_grad)


@contextlib.contextmanager
def trial() -> Iterator[None]:
    """While layers are only run to see shapes, on zeros: `in_trial()` tells them to keep nothing of it."""
    _trials.append(None)
    try:
        yield
    finally:
        _trials.pop()


def in_trial() -> bool:
    """Whether a call is only made to see shapes or to build."""
    return bool(_trials)


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


def _sample(value: Any, index: int, larger: int) -> Any:
    return mapped(value, lambda tensor: tensor.sample(index, larger))


def _paired(first: Any, second: Any, node: Node) -> Any:
    if isinstance(first, torch.Tensor):
        return SymbolicTensor((first, second), node)
    if isinstance(first, dict):
        return {key: _paired(item, second[key], node) for key, item in first.items()}
    if isinstance(first, list | tuple):
        items = [_paired(a, b, node) for a, b in zip(first, second, strict=True)]
        return type(first)(*items) if hasattr(first, "_fields") else type(first)(items)
    return first
