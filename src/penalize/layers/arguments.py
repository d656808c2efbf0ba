"""Checks of layer arguments; every error names the layer, the argument, what was expected and what came."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch

from penalize.errors import ArgumentError, nearest

__all__ = ["as_dtype", "choice", "integer", "integers"]

DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
    "int32": torch.int32,
    "int64": torch.int64,
    "bool": torch.bool,
}


def integer(value: Any, argument: str, layer: str, least: int = 1) -> int:
    """An integer >= `least`."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        raise ArgumentError(f"{layer}: {argument} must be an integer >= {least}, got {value!r:.80}")
    return number


def integers(value: Any, count: int, argument: str, layer: str) -> tuple[int, ...]:
    """`count` integers >= 1; a single one stands for all."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != count:
            raise ArgumentError(f"{layer}: {argument} must be an integer or {count} integers, got {value!r:.80}")
        return tuple(integer(item, argument, layer) for item in value)
    return (integer(value, argument, layer),) * count


def choice(value: Any, choices: Sequence[str], argument: str, layer: str) -> str:
    """One of a few strings, in any case."""
    if not isinstance(value, str) or value.lower() not in choices:
        hint = nearest(value, choices) if isinstance(value, str) else nearest("", choices)
        raise ArgumentError(
            f"{layer}: {argument} must be one of {', '.join(map(repr, choices))}, got {value!r}: {hint}"
        )
    return value.lower()


def as_dtype(value: Any, layer: str) -> torch.dtype:
    """A torch dtype from one or from Keras's name of it; None is float32."""
    if value is None:
        return torch.float32
    if isinstance(value, torch.dtype):
        return value
    if isinstance(value, str) and value in DTYPES:
        return DTYPES[value]
    raise ArgumentError(f"{layer}: dtype must be one of {', '.join(map(repr, DTYPES))} or a torch dtype, got {value!r}")
