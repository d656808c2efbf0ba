"""The compiled library beside this file: elementwise penalties of many tensors on the CPU, in one pass over memory.

It is made by a C compiler when penalize is installed (hatch_build.py). Without it torch's operations do the same.
"""

from __future__ import annotations

import ctypes
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

__all__ = ["Library", "fitting_sizes", "library", "numbers"]

Tensors = Sequence[torch.Tensor]

WORTH_THREADS = 2**15
"""From so many values on, work is shared among threads."""
MOST_THREADS = 256
"""As in kernels.c."""
PLAIN = frozenset((torch.Tensor, nn.Parameter))

_ON_CPU, _DTYPE = operator.attrgetter("is_cpu"), operator.attrgetter("dtype")


def _loaded() -> ctypes.CDLL | None:
    path = Path(__file__).with_name("kernels.so")
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        # It was not made, or not for this system, or torch has no OpenMP here.
        return None


_LOADED = _loaded()


def library(tensors: Tensors) -> Library | None:
    """The library for tensors of the dtype and the device of these, if there is one."""
    first = tensors[0]
    if _LOADED is None or first.device.type != "cpu" or first.dtype not in (torch.float32, torch.float64):
        return None
    return Library(_LOADED, first.dtype)


def fitting_sizes(dtype: torch.dtype, *sequences: Tensors) -> list[int] | None:
    """The sizes of tensors whose memory is what the library expects, behind each other; None if that of one is not.

    The tensors of one place in all sequences belong together, and are as long as each other. Asked at every call:
    whoever gives a parameter other `data` between two steps must not have the library read past their end.
    """
    sizes = list(map(torch.Tensor.numel, sequences[0]))
    for tensors in sequences:
        if not (
            PLAIN.issuperset(map(type, tensors))
            and all(map(torch.Tensor.is_contiguous, tensors))
            and all(map(_ON_CPU, tensors))
            and {dtype}.issuperset(map(_DTYPE, tensors))
            and (tensors is sequences[0] or list(map(torch.Tensor.numel, tensors)) == sizes)
        ):
            return None
    return sizes


class Library:
    """The functions for one dtype. Tensors come with their `fitting_sizes`, strengths as `numbers`."""

    def __init__(self, loaded: ctypes.CDLL, dtype: torch.dtype) -> None:
        kind = "float" if dtype == torch.float32 else "double"
        self._add_gradients = getattr(loaded, f"add_gradients_{kind}")
        self._write_gradients = getattr(loaded, f"write_gradients_{kind}")
        self._value = getattr(loaded, f"value_{kind}")
        self._value.restype = ctypes.c_double
        self._shrink = getattr(loaded, f"shrink_{kind}")

    def add_gradients(self, gradients: Tensors, tensors: Tensors, sizes: list[int], l1: Any, l2: Any) -> None:
        """`g[i] += l1[i] sign(x[i]) + 2 l2[i] x[i]`, in place."""
        *lengths, threads = _lengths(sizes)
        self._add_gradients(*lengths, _places(tensors), _places(gradients), l1, l2, threads)
        torch.autograd.graph.increment_version(gradients)

    def write_gradients(
        self, gradients: Tensors, tensors: Tensors, sizes: list[int], l1: Any, l2: Any, factor: float
    ) -> None:
        """`g[i] = factor (l1[i] sign(x[i]) + 2 l2[i] x[i])`, in place."""
        *lengths, threads = _lengths(sizes)
        places = _places(tensors), _places(gradients)
        self._write_gradients(*lengths, *places, l1, l2, ctypes.c_double(factor), threads)

    def value(self, tensors: Tensors, gradients: Tensors | None, sizes: list[int], l1: Any, l2: Any) -> float:
        """The sum over i of `l1[i] sum(abs(x[i])) + l2[i] sum(x[i]**2)`; the gradients are written to `gradients`."""
        *lengths, threads = _lengths(sizes)
        written = None if gradients is None else _places(gradients)
        value: float = self._value(*lengths, _places(tensors), written, l1, l2, threads)
        return value

    def shrink(
        self,
        tensors: Tensors,
        squares: Sequence[torch.Tensor | None],
        sizes: list[int],
        settings: Sequence[float],
        rooted: Sequence[bool],
    ) -> None:
        """The proximal steps of the tensors, in place; scale, inside, outside, l1 and l2 of each in `settings`."""
        *lengths, threads = _lengths(sizes)
        places = (ctypes.c_void_p * len(tensors))(*(None if each is None else each.data_ptr() for each in squares))
        self._shrink(
            *lengths, _places(tensors), places, numbers(settings), (ctypes.c_int * len(rooted))(*rooted), threads
        )
        torch.autograd.graph.increment_version(tensors)


def numbers(values: Sequence[float]) -> Any:
    """Numbers as the library takes them."""
    return (ctypes.c_double * len(values))(*values)


def _lengths(sizes: list[int]) -> tuple[ctypes.c_int64, Any, ctypes.c_int]:
    """Their count, the sizes, and how many threads to share them among."""
    threads = min(torch.get_num_threads(), MOST_THREADS) if sum(sizes) >= WORTH_THREADS else 1
    return ctypes.c_int64(len(sizes)), (ctypes.c_int64 * len(sizes))(*sizes), ctypes.c_int(threads)


def _places(tensors: Tensors) -> Any:
    return (ctypes.c_void_p * len(tensors))(*map(torch.Tensor.data_ptr, tensors))
