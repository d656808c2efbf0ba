"""InputLayer and Input: the shape that a Sequential begins with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from penalize.arguments import integer
from penalize.errors import ArgumentError, ShapeError
from penalize.layers.layer import Layer
from penalize.layers.symbolic import SymbolicTensor, symbolic_input
from penalize.registry import built_in

__all__ = ["Input", "InputLayer"]


@built_in("layer", module="keras.layers")
class InputLayer(Layer):
    """Says and checks the shape of the inputs; as the first of a `Sequential` it lets the others be built at once.

    `shape` is that of one input, without the batch axis, None for sizes that vary; `batch_size` fixes axis 0;
    `batch_shape` gives both in one. Raises ArgumentError for bad shapes, ShapeError when called with another shape.
    Source: Keras 3.15.1.

    >>> InputLayer((28, 28)).batch_shape
    (None, 28, 28)
    """

    left_out_arguments = ("shape", "batch_size")

    def __init__(
        self,
        shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        batch_shape: Sequence[int | None] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(dtype=dtype, name=name)
        if (shape is None) == (batch_shape is None):
            raise ArgumentError(f"{self.name}: give either shape or batch_shape, got {shape!r} and {batch_shape!r}")
        if shape is not None and not isinstance(shape, list | tuple):
            raise ArgumentError(f"{self.name}: shape must be a tuple such as (28, 28), got {shape!r}")
        if batch_shape is not None and batch_size is not None:
            raise ArgumentError(f"{self.name}: batch_shape gives the batch size already, got batch_size {batch_size!r}")
        whole = tuple(batch_shape) if batch_shape is not None else (batch_size, *(shape or ()))
        self.batch_shape = tuple(None if size is None else integer("shape", size, self.name) for size in whole)
        self.built = True

    def symbolic(self) -> SymbolicTensor:
        """A symbolic tensor of this shape and dtype."""
        return symbolic_input(self, self.batch_shape, self.dtype)

    def input_dtype(self) -> torch.dtype | None:
        """The dtype that was given, also under a mixed policy: the layers behind cast for themselves."""
        return self.dtype if self.dtype_given else None

    def call(self, inputs: Any) -> torch.Tensor:
        if not isinstance(inputs, torch.Tensor):
            got = f"{type(inputs).__name__} of {len(inputs)}" if hasattr(inputs, "__len__") else type(inputs).__name__
            raise ShapeError(f"{self.name}: expected one tensor of shape {self.batch_shape}, got {got}")
        # By `==`: `in` takes a number and an open size of a graph for different.
        fits = len(self.batch_shape) == inputs.ndim and all(
            expected is None or expected == size for expected, size in zip(self.batch_shape, inputs.shape, strict=True)
        )
        if not fits:
            raise ShapeError(f"{self.name}: expected inputs of shape {self.batch_shape}, got {tuple(inputs.shape)}")
        return inputs


def Input(  # noqa: N802  Keras's name
    shape: Sequence[int | None] | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
) -> SymbolicTensor:
    """What a model begins with: a symbolic tensor of an `InputLayer` of this shape.

    As the first element of a `Sequential`, or to be handed from layer to layer, up to `Model(inputs, outputs)`.

    >>> Input(shape=(784,)).shape
    (None, 784)
    """
    return InputLayer(shape, batch_size, dtype, batch_shape, name).symbolic()
