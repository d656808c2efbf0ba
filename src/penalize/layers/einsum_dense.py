"""EinsumDense: a linear map between any axes, as an einsum equation says."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from penalize.arguments import integer
from penalize.errors import ArgumentError, ShapeError
from penalize.initializers import VarianceScaling
from penalize.layers.activated import activated
from penalize.layers.inputs import as_floating
from penalize.layers.layer import Layer
from penalize.layers.weight_attributes import WithBias, WithKernel
from penalize.registry import built_in

__all__ = ["EinsumDense"]

PATTERN = re.compile(r"(\.\.\.)?([a-zA-Z]+)(\.\.\.)?,([a-zA-Z]+)->(\.\.\.)?([a-zA-Z]+)(\.\.\.)?")


@dataclass(frozen=True)
class _Equation:
    """The letters of inputs, kernel and output; `elided` is "left", "right" or "" for where the `...` stands."""

    inputs: str
    kernel: str
    output: str
    elided: str

    def sizes(self, input_shape: Sequence[Any], output_shape: Sequence[int | None], layer: str) -> dict[str, Any]:
        """The size of each letter. Raises ShapeError for shapes that do not fit the equation."""
        if len(input_shape) < len(self.inputs) or (not self.elided and len(input_shape) != len(self.inputs)):
            raise ShapeError(
                f"{layer}: inputs must have {'at least ' if self.elided else ''}the axes {self.inputs!r}, "
                f"got shape {tuple(input_shape)}"
            )
        letters = len(self.inputs)
        own = input_shape[-letters:] if self.elided == "left" else input_shape[:letters]
        sizes = dict(zip(self.inputs, own, strict=True))
        # Without `...` in front, the first letter of the output is the batch, which output_shape does not name.
        named = self.output if self.elided == "left" else self.output[1:]
        if len(output_shape) != len(named):
            raise ArgumentError(
                f"{layer}: output_shape must name the sizes of the axes {named!r}, got {tuple(output_shape)}"
            )
        for letter, size in zip(named, output_shape, strict=True):
            if letter in sizes:
                # By `==`: `in` takes a number and an open size of a graph for different.
                if size is not None and sizes[letter] is not None and size != sizes[letter]:
                    raise ShapeError(
                        f"{layer}: output_shape says {size} for the axis {letter!r}, which is {sizes[letter]} in "
                        f"inputs of shape {tuple(input_shape)}"
                    )
            elif size is None:
                raise ArgumentError(f"{layer}: output_shape must give the size of the axis {letter!r}, got None")
            else:
                sizes[letter] = size
        for letter in self.kernel:
            if sizes.get(letter) is None:
                raise ShapeError(f"{layer}: the size of the axis {letter!r} is known from neither inputs nor output")
        return sizes


@built_in("layer", module="keras.layers")
class EinsumDense(WithKernel, WithBias, Layer):
    """`activation(einsum(equation, inputs, kernel) + bias)`.

    The equation names the axes of inputs, kernel and output, such as "abc,cd->abd"; `...` may stand for any number of
    axes, first or last. `output_shape` gives the sizes of the output's axes without the batch and those under `...`;
    None takes that of the inputs' axis of the same letter. `bias_axes` are the letters of the output that the bias has
    (None: no bias). `kernel` and `bias` keep Keras's layout, also in `state_dict`.

    Parameters besides: `activation`; initializers (fans are counted over the axes that are summed and those that
    remain), regularizers and constraints of kernel and bias; those of `Layer`.

    Raises ArgumentError for an equation that cannot be read or does not fit, ShapeError for inputs of another shape.
    Source: Keras 3.15.1.

    >>> layer = EinsumDense("abc,cd->abd", output_shape=(None, 4), bias_axes="d", kernel_regularizer="l2")
    >>> layer(torch.ones(2, 3, 5)).shape, layer.kernel.shape, layer.bias.shape
    (torch.Size([2, 3, 4]), torch.Size([5, 4]), torch.Size([4]))
    """

    bias: torch.Tensor | None

    def __init__(
        self,
        equation: str,
        output_shape: int | Sequence[int | None],
        activation: Any = None,
        bias_axes: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.equation = equation
        self._equation = _read(equation, self.name)
        given = (output_shape,) if isinstance(output_shape, int) else tuple(output_shape)
        self.output_shape = tuple(None if n is None else integer("output_shape", n, self.name) for n in given)
        self.activation = self.as_activation(activation)
        self.bias_axes = bias_axes
        for letter in bias_axes or "":
            if letter not in self._equation.output:
                raise ArgumentError(
                    f"{self.name}: bias_axes must be axes of the output {self._equation.output!r}, got {bias_axes!r}"
                )
        self.declare_weight(
            "kernel", kernel_initializer, kernel_regularizer, kernel_constraint, attribute="kernel_weight"
        )
        self.declare_weight("bias", bias_initializer, bias_regularizer, bias_constraint)

    def build(self, input_shape: Any) -> None:
        letters = self._equation
        sizes = letters.sizes(input_shape, self.output_shape, self.name)
        self._sizes = {letter: sizes[letter] for letter in letters.kernel}
        self.build_weight("kernel", [sizes[letter] for letter in letters.kernel], draw=self._draw)
        if self.bias_axes:
            output = letters.output[min(letters.output.index(letter) for letter in self.bias_axes) :]
            shape = [sizes[letter] if letter in self.bias_axes else 1 for letter in output]
            elided = len(input_shape) - len(letters.inputs) if letters.elided == "right" else 0
            self.build_weight("bias", shape + [1] * elided)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        # Also refuses inputs of another shape than the kernel's.
        for letter, size in self._equation.sizes(inputs.shape, self.output_shape, self.name).items():
            if size != self._sizes.get(letter, size):
                raise ShapeError(
                    f"{self.name}: the axis {letter!r} must have size {self._sizes[letter]}, got {tuple(inputs.shape)}"
                )
        kernel = self.kernel_weight
        output = torch.einsum(self.equation, as_floating(inputs, kernel.dtype), kernel)
        if self.bias is not None:
            output = output + self.bias
        return activated(self.activation, output)

    def _draw(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """The first kernel: scaled initializers see the matrix (summed axes, other axes) that it is."""
        initializer = self.kernel_initializer
        if not isinstance(initializer, VarianceScaling):
            tensor: torch.Tensor = initializer(shape, dtype=dtype)
            return tensor
        letters = self._equation
        summed = [letter for letter in letters.kernel if letter in letters.inputs and letter not in letters.output]
        order = summed + [letter for letter in letters.kernel if letter not in summed]
        sizes = [self._sizes[letter] for letter in order]
        matrix = initializer((math.prod(sizes[: len(summed)]), math.prod(sizes[len(summed) :])), dtype=dtype)
        drawn: torch.Tensor = matrix.reshape(sizes).permute([order.index(letter) for letter in letters.kernel])
        return drawn


def _read(equation: Any, layer: str) -> _Equation:
    found = PATTERN.fullmatch(equation.replace(" ", "")) if isinstance(equation, str) else None
    if found is None:
        raise ArgumentError(f"{layer}: equation must be one such as 'abc,cd->abd', got {equation!r:.80}")
    left, inputs, right, kernel, output_left, output, output_right = found.groups()
    if (left, right) != (output_left, output_right) or (left and right):
        raise ArgumentError(
            f"{layer}: '...' must stand at the same end of inputs and output, got the equation {equation!r}"
        )
    return _Equation(inputs, kernel, output, "left" if left else "right" if right else "")
