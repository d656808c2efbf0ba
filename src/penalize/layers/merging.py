"""Layers that make one tensor of several, entry by entry: sums, products, means and extremes."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import torch

from penalize.errors import ArgumentError, ShapeError
from penalize.layers.inputs import differ
from penalize.layers.layer import Layer
from penalize.registry import built_in

__all__ = ["Add", "Average", "Maximum", "Merge", "Minimum", "Multiply", "Subtract", "mask_of_rank", "shapes_as_text"]

Masks = list[torch.Tensor | None]


class Merge(Layer):
    """What all share: a list of inputs in, and masks of which an entry is real in the output if it is in one input."""

    supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> torch.Tensor:
        tensors = self.as_list(inputs)
        rank = max(tensor.ndim for tensor in tensors)
        # Missing axes come behind the batch, as in Keras.
        aligned = [tensor.reshape(_with_rank(tensor.shape, rank)) for tensor in tensors]
        shapes = [tensor.shape for tensor in aligned]
        if any(differ(along, (1,) if axis else ()) for axis, along in enumerate(zip(*shapes, strict=True))):
            raise ShapeError(
                f"{self.name}: inputs must have one batch size and other axes that are equal or 1, got shapes "
                f"{shapes_as_text(tensors)}"
            )
        return self.merge(aligned, self.aligned_masks(tensors, mask, rank))

    def merge(self, inputs: list[torch.Tensor], masks: Masks) -> torch.Tensor:
        """The output for inputs of one rank; each mask has that rank too, or is None."""
        raise NotImplementedError

    def as_list(self, inputs: Any, count: int | None = None) -> list[torch.Tensor]:
        """The inputs, if they are a list of tensors, of this number."""
        wanted = "tensors" if count is None else f"{count} tensors"
        if not isinstance(inputs, list | tuple) or not inputs or count not in (None, len(inputs)):
            got = len(inputs) if isinstance(inputs, list | tuple) else type(inputs).__name__
            raise ArgumentError(f"{self.name}: it is called on a list of {wanted}, got {got}")
        for item in inputs:
            if not isinstance(item, torch.Tensor):
                raise ArgumentError(
                    f"{self.name}: it is called on a list of {wanted}, got a {type(item).__name__} in it"
                )
        return list(inputs)

    def aligned_masks(self, tensors: list[torch.Tensor], masks: Any, rank: int) -> Masks:
        """The masks of the inputs, with axes of size 1 where an input has none or its mask lacks some."""
        given = [None] * len(tensors) if masks is None else masks
        if not isinstance(given, list | tuple) or len(given) != len(tensors):
            raise ArgumentError(f"{self.name}: mask must be a list of {len(tensors)} masks, got {masks!r:.80}")
        full = [
            None if mask is None else mask_of_rank(mask, tensor.ndim)
            for tensor, mask in zip(tensors, given, strict=True)
        ]
        return [None if mask is None else mask.reshape(_with_rank(mask.shape, rank)) for mask in full]

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        if previous_mask is None or any(mask is None for mask in previous_mask):
            return None
        ranks = [len(item.shape) for item in inputs]
        masks = [
            mask.reshape(_with_rank(mask.shape, mask.ndim + max(ranks) - rank))
            for mask, rank in zip(previous_mask, ranks, strict=True)
        ]
        return functools.reduce(torch.logical_or, masks)


@built_in("layer", module="keras.layers")
class Add(Merge):
    """The sum of a list of inputs.

    Inputs have one batch size; other axes are equal or 1, and an input of lower rank gets axes of size 1 behind the
    batch. Where all inputs have masks, an entry of the output is real if it is in one of them. So it is with
    `Subtract`, `Multiply`, `Average`, `Maximum` and `Minimum`.

    Raises ArgumentError for anything but a list of tensors, ShapeError for other shapes. Source: Keras 3.15.1.

    >>> import torch
    >>> Add()([torch.ones(2, 3), torch.ones(2, 1)]).shape
    torch.Size([2, 3])
    """

    def merge(self, inputs: list[torch.Tensor], masks: Masks) -> torch.Tensor:
        return functools.reduce(operator.add, inputs)


@built_in("layer", module="keras.layers")
class Subtract(Merge):
    """The first of two inputs less the second; shapes, masks and errors as of `Add`.

    >>> Subtract()([torch.tensor([[3.0]]), torch.tensor([[1.0]])])
    tensor([[2.]])
    """

    def as_list(self, inputs: Any, count: int | None = None) -> list[torch.Tensor]:
        return super().as_list(inputs, 2)

    def merge(self, inputs: list[torch.Tensor], masks: Masks) -> torch.Tensor:
        return inputs[0] - inputs[1]


@built_in("layer", module="keras.layers")
class Multiply(Merge):
    """The product of a list of inputs; shapes and errors as of `Add`.

    Padded entries of an input count as 1; where all inputs are padded the output is 0.

    >>> Multiply()([torch.tensor([[3.0]]), torch.tensor([[2.0]])])
    tensor([[6.]])
    """

    def merge(self, inputs: list[torch.Tensor], masks: Masks) -> torch.Tensor:
        factors = [
            tensor if mask is None else tensor.masked_fill(~mask, 1) for tensor, mask in zip(inputs, masks, strict=True)
        ]
        product = functools.reduce(operator.mul, factors)
        known = [mask for mask in masks if mask is not None]
        if len(known) < len(masks):
            return product
        return product.masked_fill(~functools.reduce(torch.logical_or, known), 0)


@built_in("layer", module="keras.layers")
class Average(Add):
    """The mean of a list of inputs; shapes, masks and errors as of `Add`.

    >>> Average()([torch.tensor([[3.0]]), torch.tensor([[2.0]])])
    tensor([[2.5000]])
    """

    def merge(self, inputs: list[torch.Tensor], masks: Masks) -> torch.Tensor:
        return super().merge(inputs, masks) / len(inputs)


class _Extreme(Merge):
    """The largest or smallest of the real entries of the inputs; where all are padded, that of the first input."""

    def pick(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """The one of two inputs that is wanted, entry by entry."""
        raise NotImplementedError

    def merge(self, inputs: list[torch.Tensor], masks: Masks) -> torch.Tensor:
        result, real = inputs[0], masks[0]
        for tensor, mask in zip(inputs[1:], masks[1:], strict=True):
            picked = self.pick(result, tensor)
            if mask is not None:
                picked = torch.where(mask, picked, result)
            if real is not None:
                alone = ~real if mask is None else mask & ~real
                picked = torch.where(alone, tensor, picked)
            real = None if real is None or mask is None else real | mask
            result = picked
        return result


@built_in("layer", module="keras.layers")
class Maximum(_Extreme):
    """The largest of a list of inputs, padded entries left out; shapes and errors as of `Add`.

    >>> Maximum()([torch.tensor([[3.0]]), torch.tensor([[2.0]])])
    tensor([[3.]])
    """

    def pick(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return torch.maximum(first, second)


@built_in("layer", module="keras.layers")
class Minimum(_Extreme):
    """The smallest of a list of inputs, padded entries left out; shapes and errors as of `Add`.

    >>> Minimum()([torch.tensor([[3.0]]), torch.tensor([[2.0]])])
    tensor([[2.]])
    """

    def pick(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return torch.minimum(first, second)


def _with_rank(shape: Sequence[int], rank: int) -> tuple[int, ...]:
    """The shape with axes of size 1 behind the first, up to `rank`."""
    return (*shape[:1], *(1,) * (rank - len(shape)), *shape[1:])


def mask_of_rank(mask: torch.Tensor, rank: int) -> torch.Tensor:
    """A mask, which has the first axes of its input, with the input's rank."""
    return mask.bool().reshape(*mask.shape, *(1,) * (rank - mask.ndim))


def shapes_as_text(tensors: list[torch.Tensor]) -> str:
    return " and ".join(str(tuple(tensor.shape)) for tensor in tensors)
