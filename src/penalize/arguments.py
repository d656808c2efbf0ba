"""Checks of arguments; every error names the argument, what was expected and what came.

`where` stands in front of the message: the layer's name, where there is one.
"""

from __future__ import annotations

import math
import numbers
import operator
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from penalize.errors import ArgumentError, nearest

__all__ = ["as_dtype", "as_path", "choice", "integer", "integers", "number"]

_FLOATS = ("float32", "float64", "float16", "bfloat16")
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "bool")
_OTHERS = ("uint16", "uint32", "uint64", "complex64", "complex128")
DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in (*_FLOATS, *_INTEGERS, *_OTHERS)}


def number(
    argument: str, value: Any, low: float = -math.inf, high: float = math.inf, *, above: bool = False, where: str = ""
) -> float:
    """`value` as a float, if it is a finite real number in [low, high], or with `above` in (low, high].

    >>> number("momentum", 1.5, 0.0, 1.0)
    Traceback (most recent call last):
    ...
    penalize.errors.ArgumentError: momentum must be a number between 0 and 1, got 1.5
    """
    if not isinstance(value, bool) and isinstance(value, numbers.Real):
        result = float(value)
        if math.isfinite(result) and low <= result <= high and not (above and result == low):
            return result
    if high < math.inf:
        wanted = f"number between {low:g} and {high:g}"
    else:
        wanted = "finite number" if low == -math.inf else f"number {'>' if above else '>='} {low:g}"
    raise ArgumentError(f"{_prefix(where)}{argument} must be a {wanted}, got {value!r:.80}")


def integer(argument: str, value: Any, where: str = "", *, least: int = 1) -> int:
    """`value` as an int, if it is an integer >= `least`.

    >>> integer("units", 2.5, "dense")
    Traceback (most recent call last):
    ...
    penalize.errors.ArgumentError: dense: units must be an integer >= 1, got 2.5
    """
    try:
        result = operator.index(value)
    except TypeError:
        result = least - 1
    if isinstance(value, bool) or result < least:
        raise ArgumentError(f"{_prefix(where)}{argument} must be an integer >= {least}, got {value!r:.80}")
    return result


def integers(argument: str, value: Any, count: int, where: str = "") -> tuple[int, ...]:
    """`count` integers >= 1; a single one stands for all."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != count:
            raise ArgumentError(f"{_prefix(where)}{argument} must be an integer or {count} integers, got {value!r:.80}")
        return tuple(integer(argument, item, where) for item in value)
    return (integer(argument, value, where),) * count


def choice(argument: str, value: Any, choices: Sequence[str], where: str = "") -> str:
    """One of a few strings, in any case."""
    if not isinstance(value, str) or value.lower() not in choices:
        hint = f": {nearest(value, choices)}" if isinstance(value, str) else ""
        listed = ", ".join(map(repr, choices))
        raise ArgumentError(f"{_prefix(where)}{argument} must be one of {listed}, got {value!r:.80}{hint}")
    return value.lower()


def as_dtype(dtype: Any, where: str = "") -> torch.dtype:
    """The torch dtype of a name, or a torch dtype as it is; float32 for None.

    >>> as_dtype("float16")
    torch.float16
    """
    if dtype is None:
        return torch.float32
    if isinstance(dtype, torch.dtype):
        return dtype
    if isinstance(dtype, str) and dtype in DTYPES:
        return DTYPES[dtype]
    raise ArgumentError(f"{_prefix(where)}unknown dtype {dtype!r:.80}: {nearest(str(dtype)[:80], DTYPES)}")


def as_path(path: str | os.PathLike[str]) -> Path:
    """The path of a string or of what stands for one. Raises ArgumentError for anything else, such as bytes.

    >>> as_path(3)
    Traceback (most recent call last):
    ...
    penalize.errors.ArgumentError: a path is a string or a Path, got int: 3
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise ArgumentError(f"a path is a string or a Path, got {type(path).__name__}: {path!r:.80}")
    return Path(path)


def _prefix(where: str) -> str:
    return f"{where}: " if where else ""
