"""Hearing of `optimizer.zero_grad()`, for which torch has no hook."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["when_zeroed"]

WATCH = "_penalize_zero_grad"


def when_zeroed(optimizer: torch.optim.Optimizer, call: Callable[[], None]) -> Callable[[], None]:
    """Call `call()` after each `optimizer.zero_grad()`; what is returned ends that, and leaves the optimizer as it was.

    `zero_grad` is wrapped on this one object, as `torch.optim.lr_scheduler` wraps `step`; its class, and copies and
    pickles of it, stay as they are.
    """
    watch = vars(optimizer).get(WATCH) or _Watch(optimizer)
    watch.calls.append(call)
    return functools.partial(watch.end, call)


class _Watch:
    """The wrapper around one optimizer's `zero_grad`, and whom it tells."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.calls: list[Callable[[], None]] = []
        self.held = vars(optimizer)
        self.before = self.held.get("zero_grad")
        original = optimizer.zero_grad

        @functools.wraps(original)
        def zero_grad(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            for call in tuple(self.calls):
                call()
            return result

        self.wrapper = zero_grad
        self.held["zero_grad"] = zero_grad
        self.held[WATCH] = self

    def end(self, call: Callable[[], None]) -> None:
        self.calls.remove(call)
        # Where somebody wrapped it once more, ours has to stay, and passes calls on.
        if not self.calls and self.held.get("zero_grad") is self.wrapper:
            del self.held["zero_grad"], self.held[WATCH]
            if self.before is not None:
                self.held["zero_grad"] = self.before
