"""Where penalties of outputs are kept from the call that made them until they are read."""

from __future__ import annotations

from typing import Any

import torch

from penalize.placement.threads import PerThread

__all__ = ["Record", "Recorded"]

Entries = list[tuple[int, torch.Tensor]]
Recorded = tuple["_OfThread", Entries, bool, "_OfThread | None"]


class _OfThread:
    """What a thread recorded; `called` is whether it did so at all.

    `position` is that of the module's last call in the outermost one. While `collected` is a list, outputs are put
    there instead of being penalized.
    """

    def __init__(self) -> None:
        self.called = False
        self.entries: Entries = []
        self.without_gradient = False
        self.position = 0
        self.collected: list[Any] | None = None


class Record:
    """The penalties that one target gave in the last outermost call: pairs of a position in that call and a scalar.

    Positions are those of `enter_call`: calls are counted as they begin, so that a layer stands before those inside.

    Each thread has its own, so that threads may call one model at once. A thread that never called it reads those of
    the thread that did so last. Copies and pickles are empty: penalties belong to the call that made them.
    """

    def __init__(self) -> None:
        self.threads = PerThread(_OfThread)
        self._last: _OfThread | None = None

    @property
    def entries(self) -> Entries:
        return self._read().entries

    @entries.setter
    def entries(self, entries: Entries) -> None:
        self.threads.own.entries = entries

    @property
    def without_gradient(self) -> bool:
        """Whether a penalty was made where no gradient comes by: inside the forward of a `torch.autograd.Function`."""
        return self._read().without_gradient

    @without_gradient.setter
    def without_gradient(self, value: bool) -> None:
        self.threads.own.without_gradient = value

    def clear(self) -> None:
        """Forget what this thread recorded."""
        own = self.threads.own
        # A new list: `torch.compile` need not look into the old one, nor guard the tensors in it.
        own.entries = []
        own.without_gradient = False
        own.called = True
        self._last = own

    def state(self) -> Recorded:
        """What `restore` takes, to make the record what it is now."""
        own = self.threads.own
        return own, own.entries, own.without_gradient, self._last

    def restore(self, state: Recorded) -> None:
        """Forget what was recorded since `state` was asked for."""
        own, entries, without_gradient, self._last = state
        own.entries, own.without_gradient = entries, without_gradient

    def _read(self) -> _OfThread:
        own = self.threads.own
        return own if own.called or self._last is None else self._last

    def __reduce__(self) -> tuple[type[Record], tuple[()]]:
        return Record, ()
