"""What each thread has of its own, so that calls in several threads at once do not meet."""

from __future__ import annotations

import threading
from typing import Any, Generic, TypeVar

__all__ = ["PerThread"]

T = TypeVar("T")


class PerThread(threading.local, Generic[T]):
    """`own` is an object of a class, another one in each thread, made when the thread first asks for it.

    Set attributes of `own` only: in a graph of `torch.compile`, what is set on a `threading.local` itself is lost.
    Copies and pickles begin anew.
    """

    def __init__(self, kind: type[T]) -> None:
        self.kind = kind
        self.own = kind()

    def __reduce__(self) -> tuple[Any, ...]:
        return PerThread, (self.kind,)
