"""Dense: a linear map of the last axis."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from penalize.arguments import integer
from penalize.errors import ShapeError
from penalize.layers.activated import activated
from penalize.layers.inputs import as_floating
from penalize.layers.layer import Layer
from penalize.layers.weight_attributes import WithBias, WithKernel
from penalize.layers.weights import LINEAR_LAYOUT
from penalize.registry import built_in

__all__ = ["Dense"]


@built_in("layer", module="keras.layers")
class Dense(WithKernel, WithBias, Layer):
    """`activation(inputs @ kernel + bias)`, on the last axis of inputs of rank 2 or more.

    Shapes: inputs (batch, ..., in), output (batch, ..., units), `kernel` (in, units), `bias` (units,). `state_dict`
    holds `weight` (units, in) and `bias`, as `torch.nn.Linear` does.

    Parameters: `units`; `activation`, a name, function or None; `use_bias`; `kernel_initializer` "glorot_uniform",
    `bias_initializer` "zeros"; `kernel_regularizer`, `bias_regularizer`, `activity_regularizer`; `kernel_constraint`,
    `bias_constraint`; those of `Layer`.

    Raises ArgumentError for bad arguments, ShapeError when called with another number of inputs than it was built for.
    Source: Keras 3.15.1.

    >>> import torch
    >>> from penalize.regularizers import L1, L2
    >>> layer = Dense(5, kernel_initializer="ones", kernel_regularizer=L1(0.01), activity_regularizer=L2(0.01))
    >>> _ = layer(2 * torch.ones(5, 5))
    >>> [round(loss.item(), 4) for loss in layer.losses]
    [5.0, 0.25]
    """

    supports_masking = True
    weight: torch.Tensor
    bias: torch.Tensor | None

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = integer("units", units, self.name)
        self.activation = self.as_activation(activation)
        self.use_bias = bool(use_bias)
        kernel = (kernel_initializer, kernel_regularizer, kernel_constraint)
        self.declare_weight("kernel", *kernel, attribute="weight", layout=LINEAR_LAYOUT)
        self.declare_weight("bias", bias_initializer, bias_regularizer, bias_constraint)

    def build(self, input_shape: Any) -> None:
        if len(input_shape) < 2:
            raise ShapeError(f"{self.name}: inputs must have rank 2 or more, got shape {tuple(input_shape)}")
        self.build_weight("kernel", (input_shape[-1], self.units))
        if self.use_bias:
            self.build_weight("bias", (self.units,))

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        weight = self.weight
        if inputs.shape[-1] != weight.shape[1]:
            expected = weight.shape[1]
            raise ShapeError(f"{self.name}: the last axis of the inputs must be {expected}, got {tuple(inputs.shape)}")
        return activated(self.activation, F.linear(as_floating(inputs, weight.dtype), weight, self.bias))
