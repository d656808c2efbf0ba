"""What is known while a file is loaded: how large its weights are, and that it will fill them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

from penalize.errors import ConfigError

__all__ = ["MOST_VALUES", "account_for", "at_most", "filled_later"]

MOST_VALUES = 2**31
"""The most values in the weights of a model that comes from a config without its weights."""


class _Creation:
    """How many values new weights may still hold, and whether a file fills them."""

    def __init__(self, values: int, filled: bool) -> None:
        self.values = values
        self.filled = filled


_current: ContextVar[_Creation | None] = ContextVar("creation", default=None)


@contextlib.contextmanager
def at_most(values: int, *, filled: bool = False) -> Iterator[None]:
    """Inside, weights are refused before they are created once they hold more than `values` together.

    With `filled` they are not initialized: the caller writes all of them.
    """
    outer = _current.get()
    token = _current.set(_Creation(values, filled) if outer is None else outer)
    try:
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
