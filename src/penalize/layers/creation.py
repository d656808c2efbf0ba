"""What is known while a stranger's config is built: how large weights and activations may be, and who fills them.

A config may claim any size. Weights are counted before they are created; and whatever torch would compute meanwhile,
such as the samples that a `Sequential` runs through its layers, is computed in shapes alone first.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from penalize.errors import ConfigError

__all__ = ["MOST_OUTPUT", "MOST_RANK", "MOST_VALUES", "account_for", "at_most", "filled_later"]

MOST_VALUES = 2**28
"""The most values in the weights of a model that comes from a config without its weights, where no one says else."""
MOST_OUTPUT = 2**28
"""The most values in what a layer computes of a sample."""
MOST_RANK = 32
MOST_CALLS = 400_000
"""The most of torch's functions that building may call: a recurrent layer calls some for each step."""


class _Creation:
    """How many values new weights may still hold, and whether a file fills them."""

    def __init__(self, values: int, filled: bool) -> None:
        self.values = values
        self.filled = filled


_current: ContextVar[_Creation | None] = ContextVar("creation", default=None)


@contextlib.contextmanager
def at_most(values: int, *, filled: bool = False) -> Iterator[None]:
    """Inside, weights are refused before they are created once they hold more than `values` together.

    With `filled` they are not initialized: the caller writes all of them. Nothing else is computed, either, that holds
    more than `values` or `MOST_OUTPUT`, whatever is larger. An outer call's limits stay.
    """
    if _current.get() is not None:
        yield
        return
    token = _current.set(_Creation(values, filled))
    try:
        with _Bounded(max(values, MOST_OUTPUT)):
            yield
    finally:
        _current.reset(token)


def filled_later() -> bool:
    """Whether new weights need no initial values."""
    creation = _current.get()
    return creation is not None and creation.filled


def account_for(shape: Sequence[int], name: str) -> None:
    """Count a weight of this shape, before it takes memory. Raises ConfigError when there are too many values."""
    creation = _current.get()
    if creation is None:
        return
    values = math.prod(shape)
    if values > creation.values:
        held = "the file holds" if creation.filled else "a config may ask for"
        raise ConfigError(f"{name}: a weight of shape {tuple(shape)!s:.80} has more values than {held}")
    creation.values -= values


class _Bounded(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Asks for the shape of every result, from torch's own functions on tensors without memory, before it is made."""

    def __init__(self, values: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.values = values
        self.calls = 0
        self.known: set[Any] = set()

    def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # Each step of a sequence is a tensor of its own.
        self.calls += args[0].shape[args[1] if len(args) > 1 else 0] if func is torch.ops.aten.unbind.int else 1
        if self.calls > MOST_CALLS:
            raise ConfigError(f"building takes more than {MOST_CALLS} computations")
        if _takes_no_memory(func) or _without_memory([args, kwargs]):
            result = func(*args, **kwargs)
            self._check(result)
            return result
        kind = (func, _kind(args), _kind(kwargs))
        if kind not in self.known:
            shapes = None
            # Where shapes alone do not tell, the values do, and there are no more of them than there were.
            with contextlib.suppress(RuntimeError, TypeError, ValueError, IndexError):
                shapes = func(*_shapes(args), **_shapes(kwargs), **_device(func))
            self._check(shapes)
            self.known.add(kind)
        return func(*args, **kwargs)

    def _check(self, result: Any) -> None:
        if isinstance(result, torch.Tensor):
            if result.ndim > MOST_RANK:
                raise ConfigError(f"a tensor of rank {result.ndim}; {MOST_RANK} is the most")
            if result.numel() > self.values:
                raise ConfigError(
                    f"a tensor of shape {tuple(result.shape)!s:.80} is needed, and {self.values} values are the most"
                )
        elif isinstance(result, list | tuple):
            for item in result:
                self._check(item)


@functools.cache
def _takes_no_memory(func: Any) -> bool:
    """Whether a function of torch only gives views of its arguments, or changes them."""
    returned = func._schema.returns
    return bool(returned) and all(each.alias_info is not None for each in returned)


def _without_memory(value: Any) -> bool:
    if isinstance(value, torch.Tensor | torch.device):
        return (value.device if isinstance(value, torch.Tensor) else value).type == "meta"
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, list | tuple) and any(_without_memory(item) for item in value)


def _kind(value: Any) -> Any:
    """What of the arguments decides on the shape of a result: a recurrent layer asks for the same at each step."""
    if isinstance(value, torch.Tensor):
        return value.shape, value.stride(), value.dtype
    if isinstance(value, dict):
        return tuple((key, _kind(item)) for key, item in value.items())
    return tuple(_kind(item) for item in value) if isinstance(value, list | tuple) else (type(value), value)


def _shapes(value: Any) -> Any:
    """The arguments of a function of torch with tensors that have no memory."""
    if isinstance(value, torch.Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    if isinstance(value, torch.device | torch.Generator):
        return None
    if isinstance(value, dict):
        return {key: shapes for key, item in value.items() if (shapes := _shapes(item)) is not None}
    return type(value)(_shapes(item) for item in value) if type(value) in (list, tuple) else value


def _device(func: Any) -> dict[str, Any]:
    """The argument that makes a function work without memory, if it takes one."""
    takes_one = any(argument.name == "device" for argument in func._schema.arguments)
    return {"device": torch.device("meta")} if takes_one else {}
