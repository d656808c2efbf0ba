"""Default names of layers: the class's name in snake case, numbered from the second on."""

from __future__ import annotations

import re
from collections import Counter

__all__ = ["snake_case", "unique_name"]

_used: Counter[str] = Counter()


def snake_case(class_name: str) -> str:
    """Keras's snake case of a class name.

    >>> [snake_case(name) for name in ("Dense", "MaxPooling2D", "LSTM", "PReLU")]
    ['dense', 'max_pooling2d', 'lstm', 'p_re_lu']
    """
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", class_name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def unique_name(class_name: str) -> str:
    """A name that no layer of this process has by default yet: "dense", "dense_1", ..."""
    name = snake_case(class_name)
    number = _used[name]
    _used[name] += 1
    return name if number == 0 else f"{name}_{number}"
