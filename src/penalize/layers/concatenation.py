"""Layers that put tensors behind one another, or multiply and sum them along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from penalize.errors import ArgumentError, ShapeError
from penalize.layers.merging import Merge, all_equal, mask_of_rank, shapes_as_text
from penalize.registry import built_in

__all__ = ["Concatenate", "Dot"]

# What Keras's `normalize` divides by at least.
LEAST_NORM = 1e-7


@built_in("layer", module="keras.layers")
class Concatenate(Merge):
    """A list of inputs behind one another along `axis`, counted with the batch; all other axes are equal.

    Masks are put behind one another likewise, an input without one being all real; along the last axis an entry is
    real if it is in one input. Raises ArgumentError for anything but a list of tensors and for an axis that there is
    not, ShapeError for shapes that do not fit. Source: Keras 3.15.1.

    >>> import torch
    >>> Concatenate()([torch.ones(2, 3), torch.ones(2, 1)]).shape
    torch.Size([2, 4])
    """

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if type(axis) is not int:
            raise ArgumentError(f"{self.name}: axis must be an integer, got {axis!r:.80}")
        self.axis = axis

    def call(self, inputs: Any, mask: Any = None) -> torch.Tensor:
        tensors = self.as_list(inputs)
        rank = tensors[0].ndim
        if any(tensor.ndim != rank for tensor in tensors):
            raise ShapeError(f"{self.name}: inputs must have one rank, got shapes {shapes_as_text(tensors)}")
        if not -rank <= self.axis < rank:
            raise ArgumentError(
                f"{self.name}: axis {self.axis} must be one of inputs of shapes {shapes_as_text(tensors)}"
            )
        others = [[*tensor.shape] for tensor in tensors]
        for sizes in others:
            del sizes[self.axis]
        if not all_equal(others):
            raise ShapeError(
                f"{self.name}: inputs must have equal axes but for axis {self.axis}, got shapes "
                f"{shapes_as_text(tensors)}"
            )
        return torch.cat(tensors, self.axis)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        if previous_mask is None:
            return None
        device = next(mask.device for mask in previous_mask if mask is not None)
        real = torch.ones((), dtype=torch.bool, device=device)
        full = [
            (real if mask is None else mask_of_rank(mask, len(item.shape))).expand(item.shape)
            for item, mask in zip(inputs, previous_mask, strict=True)
        ]
        return torch.cat(full, self.axis).any(-1)


@built_in("layer", module="keras.layers")
class Dot(Merge):
    """The dot product of two inputs along `axes`: one for both, or one of each; the batch goes side by side.

    Shapes: the axes of the first input without its own, then those of the second without the batch and its own; at
    least (batch, 1). With `normalize` both are divided by their norm along the axis first: the cosine. The output has
    no mask. Raises ArgumentError for bad axes, ShapeError for inputs that do not fit. Source: Keras 3.15.1.

    >>> Dot(axes=(1, 2))([torch.ones(2, 3, 5), torch.ones(2, 10, 3)]).shape
    torch.Size([2, 5, 10])
    """

    def __init__(self, axes: int | Sequence[int], normalize: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        pair = (axes, axes) if isinstance(axes, int) else axes
        if not isinstance(pair, list | tuple) or len(pair) != 2 or any(type(axis) is not int for axis in pair):
            raise ArgumentError(f"{self.name}: axes must be an integer or two, got {axes!r:.80}")
        self.axes = axes if isinstance(axes, int) else tuple(pair)
        self.normalize = bool(normalize)

    def call(self, inputs: Any, mask: Any = None) -> torch.Tensor:
        first, second = self.as_list(inputs, 2)
        pair = (self.axes, self.axes) if isinstance(self.axes, int) else self.axes
        for tensor, axis in zip((first, second), pair, strict=True):
            if not -tensor.ndim < axis < tensor.ndim or axis == 0:
                raise ArgumentError(
                    f"{self.name}: axes {pair} must be behind the batch in inputs of shapes "
                    f"{shapes_as_text([first, second])}"
                )
        if first.shape[0] != second.shape[0] or first.shape[pair[0]] != second.shape[pair[1]]:
            raise ShapeError(
                f"{self.name}: inputs must have one batch size and the same size along the axes {pair}, got shapes "
                f"{shapes_as_text([first, second])}"
            )
        if self.normalize:
            first = F.normalize(first, dim=pair[0], eps=LEAST_NORM)
            second = F.normalize(second, dim=pair[1], eps=LEAST_NORM)
        left, right = first.movedim(pair[0], -1), second.movedim(pair[1], 1)
        shape = (left.shape[0], *left.shape[1:-1], *right.shape[2:])
        # The sizes are given: none can be worked out for an empty batch.
        rows, columns = left.shape[1:-1].numel(), right.shape[2:].numel()
        product = left.reshape(shape[0], rows, left.shape[-1]) @ right.reshape(shape[0], left.shape[-1], columns)
        return product.reshape(shape if len(shape) > 1 else (*shape, 1))

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        """None."""
