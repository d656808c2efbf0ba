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

__all__ = ["Kernels", "Memory", "Places", "kernels_for", "memory_of", "numbers"]

Tensors = Sequence[torch.Tensor]

WORTH_THREADS = 2**15
"""From so many values on, work is shared among threads."""
ONE = ctypes.c_int(1)
MOST_THREADS = 256
"""As in kernels.c."""
PLAIN = frozenset((torch.Tensor, nn.Parameter))

# Python's own loops over these are fast also where their code is cold, as it is in the middle of a training step.
_place, _is_contiguous, _is_negated = torch.Tensor.data_ptr, torch.Tensor.is_contiguous, torch.Tensor.is_neg
_bytes, _is_on_cpu, _dtype = map(operator.attrgetter, ("nbytes", "is_cpu", "dtype"))
_kind = operator.attrgetter("requires_grad", "nbytes", "dtype")


def _loaded() -> ctypes.CDLL | None:
    path = Path(__file__).with_name("kernels.so")
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        # It was not made, or not for this system, or torch has no OpenMP here.
        return None


_LOADED = _loaded()


class Places:
    """Where tensors lie, each in one piece.

    Whoever gives a parameter other `data` between two steps must not have the library read past their end: what is
    known of them is asked for at each step.
    """

    def __init__(self, tensors: Tensors) -> None:
        self.places = list(map(_place, tensors))
        self.kinds = list(map(_kind, tensors))

    def hold(self, tensors: Tensors) -> bool:
        """Whether these tensors, of the same types, lie there still, mean the same numbers, and are as frozen."""
        return (
            list(map(_place, tensors)) == self.places
            and list(map(_kind, tensors)) == self.kinds
            and all(map(_is_contiguous, tensors))
            and not any(map(_is_negated, tensors))
        )


class Memory(Places):
    """The places of tensors that the library may work on: all of one dtype, on the CPU."""

    def __init__(self, tensors: Tensors) -> None:
        super().__init__(tensors)
        self.bytes = list(map(_bytes, tensors))
        sizes = [tensor.numel() for tensor in tensors]
        self.shared_among_threads = sum(sizes) >= WORTH_THREADS
        self.count = ctypes.c_int64(len(sizes))
        self.sizes = (ctypes.c_int64 * len(sizes))(*sizes)
        self._as_addresses = ctypes.c_void_p * len(sizes)
        self.addresses = self._as_addresses(*self.places)

    def beside(self, tensors: Tensors) -> Any:
        """The addresses of other tensors, each as long as the one in its place here; None if one cannot be taken."""
        if not (
            PLAIN.issuperset(map(type, tensors))
            and all(map(_is_on_cpu, tensors))
            and all(map(_is_contiguous, tensors))
            and not any(map(_is_negated, tensors))
            and list(map(_bytes, tensors)) == self.bytes
        ):
            return None
        places = list(map(_place, tensors))
        return self._as_addresses(*places) if all(places) or not _lacks_memory(places, self.bytes) else None

    def of_new(self, tensors: Tensors) -> Any:
        """The addresses of tensors just made like those here; None where a mode makes other ones than plain."""
        return self._as_addresses(*map(_place, tensors)) if PLAIN.issuperset(map(type, tensors)) else None

    def threads(self) -> ctypes.c_int:
        """How many threads to share the work among."""
        return ctypes.c_int(min(torch.get_num_threads(), MOST_THREADS) if self.shared_among_threads else 1)


def memory_of(tensors: Tensors, dtype: torch.dtype) -> Memory | None:
    """Where tensors of this dtype lie; None if the library cannot work on one of them."""
    if not (
        PLAIN.issuperset(map(type, tensors))
        and {dtype}.issuperset(map(_dtype, tensors))
        and all(map(_is_on_cpu, tensors))
        and all(map(_is_contiguous, tensors))
        and not any(map(_is_negated, tensors))
    ):
        return None
    memory = Memory(tensors)
    return None if _lacks_memory(memory.places, memory.bytes) else memory


def _lacks_memory(places: list[int], sizes: list[int]) -> bool:
    """Whether a tensor that is not empty lies nowhere, as torch's tensors of zeros alone do."""
    return any(size and not place for place, size in zip(places, sizes, strict=True))


def numbers(values: Sequence[float]) -> Any:
    """Numbers as the library takes them."""
    return (ctypes.c_double * len(values))(*values)


def kernels_for(tensor: torch.Tensor) -> Kernels | None:
    """The functions for the dtype and the device of a tensor, if there are any."""
    if _LOADED is None or tensor.device.type != "cpu" or tensor.dtype not in (torch.float32, torch.float64):
        return None
    return Kernels(_LOADED, tensor.dtype)


class Kernels:
    """The functions of the library for one dtype. Strengths come as `numbers`, gradients also as their addresses."""

    def __init__(self, loaded: ctypes.CDLL, dtype: torch.dtype) -> None:
        kind = "float" if dtype == torch.float32 else "double"
        self._add_gradients = getattr(loaded, f"add_gradients_{kind}")
        self._write_gradients = getattr(loaded, f"write_gradients_{kind}")
        self._value = getattr(loaded, f"value_{kind}")
        self._value.restype = ctypes.c_double
        self._shrink = getattr(loaded, f"shrink_{kind}")

    def add_gradients(self, gradients: Tensors, addresses: Any, of: Memory, l1: Any, l2: Any) -> None:
        """`g[i] += l1[i] sign(x[i]) + 2 l2[i] x[i]`, in place."""
        threads = of.threads() if of.shared_among_threads else ONE
        self._add_gradients(of.count, of.sizes, of.addresses, addresses, l1, l2, threads)
        torch.autograd.graph.increment_version(gradients)

    def write_gradients(self, addresses: Any, of: Memory, l1: Any, l2: Any, factor: float) -> None:
        """`g[i] = factor (l1[i] sign(x[i]) + 2 l2[i] x[i])`, in place of new tensors."""
        strengths = l1, l2, ctypes.c_double(factor)
        self._write_gradients(of.count, of.sizes, of.addresses, addresses, *strengths, of.threads())

    def value(self, addresses: Any, of: Memory, l1: Any, l2: Any) -> float:
        """The sum over i of `l1[i] sum(abs(x[i])) + l2[i] sum(x[i]**2)`; gradients are written to addresses, if any."""
        value: float = self._value(of.count, of.sizes, of.addresses, addresses, l1, l2, of.threads())
        return value

    def shrink(self, tensors: Tensors, of: Memory, squares: Any, settings: Any, rooted: Sequence[bool]) -> None:
        """The proximal steps of the tensors, in place.

        `squares` are addresses, 0 where there are none; `settings` are scale, inside, outside, l1 and l2 of each.
        """
        forms = (ctypes.c_int * len(rooted))(*rooted)
        self._shrink(of.count, of.sizes, of.addresses, squares, settings, forms, of.threads())
        torch.autograd.graph.increment_version(tensors)
