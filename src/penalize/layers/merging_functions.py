"""The merging layers as functions: `add([a, b])` is `Add()([a, b])`. Source: Keras 3.15.1."""

from __future__ import annotations

from typing import Any

from penalize.layers.concatenation import Concatenate, Dot
from penalize.layers.merging import Add, Average, Maximum, Minimum, Multiply, Subtract

__all__ = ["add", "average", "concatenate", "dot", "maximum", "minimum", "multiply", "subtract"]


def add(inputs: Any, **kwargs: Any) -> Any:
    """The sum of the inputs, by `Add(**kwargs)`.

    >>> import torch
    >>> add([torch.ones(1), torch.ones(1)])
    tensor([2.])
    """
    return Add(**kwargs)(inputs)


def subtract(inputs: Any, **kwargs: Any) -> Any:
    """The first input less the second, by `Subtract(**kwargs)`."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Any, **kwargs: Any) -> Any:
    """The product of the inputs, by `Multiply(**kwargs)`."""
    return Multiply(**kwargs)(inputs)


def average(inputs: Any, **kwargs: Any) -> Any:
    """The mean of the inputs, by `Average(**kwargs)`."""
    return Average(**kwargs)(inputs)


def maximum(inputs: Any, **kwargs: Any) -> Any:
    """The largest of the inputs, entry by entry, by `Maximum(**kwargs)`."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Any, **kwargs: Any) -> Any:
    """The smallest of the inputs, entry by entry, by `Minimum(**kwargs)`."""
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Any, axis: int = -1, **kwargs: Any) -> Any:
    """The inputs one after the other along `axis`, by `Concatenate(axis, **kwargs)`."""
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs: Any, axes: Any, normalize: bool = False, **kwargs: Any) -> Any:
    """The products of two inputs summed over `axes`, by `Dot(axes, normalize, **kwargs)`."""
    return Dot(axes=axes, normalize=normalize, **kwargs)(inputs)
