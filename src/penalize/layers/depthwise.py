"""Depthwise and separable convolutions over one or two axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from penalize import activations
from penalize.arguments import choice, integer, integers
from penalize.errors import ArgumentError, ShapeError
from penalize.layers.convolution import as_data_format
from penalize.layers.inputs import as_floating
from penalize.layers.layer import Layer
from penalize.layers.padding import pad_same
from penalize.layers.weights import CONV_LAYOUTS, DepthwiseLayout, KerasView, RegularizerOf
from penalize.registry import built_in

__all__ = ["DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"]


class _Depthwise(Layer):
    """What they share: each channel convolved by `depth_multiplier` kernels of its own."""

    rank: ClassVar[int]
    convolve: ClassVar[Callable[..., torch.Tensor]]

    depthwise_regularizer = RegularizerOf("depthwise_kernel")
    bias_regularizer = RegularizerOf("bias")
    depthwise_kernel = KerasView("depthwise_kernel")
    bias: torch.Tensor | None

    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...],
        padding: str,
        depth_multiplier: int,
        data_format: str | None,
        dilation_rate: int | tuple[int, ...],
        activation: Any,
        use_bias: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size = integers("kernel_size", kernel_size, self.rank, self.name)
        self.strides = integers("strides", strides, self.rank, self.name)
        self.padding = choice("padding", padding, ("valid", "same"), self.name)
        self.depth_multiplier = integer("depth_multiplier", depth_multiplier, self.name)
        self.data_format = as_data_format(data_format, self.name)
        self.dilation_rate = integers("dilation_rate", dilation_rate, self.rank, self.name)
        self.activation = activations.get(activation)
        self.use_bias = bool(use_bias)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ArgumentError(
                f"{self.name}: strides {self.strides} and dilation_rate {self.dilation_rate} cannot both be above 1"
            )

    def declare_depthwise(self, initializer: Any, regularizer: Any, attribute: str) -> None:
        """Describe the depthwise kernel: Keras's (k..., in, multiplier), torch's (in * multiplier, 1, k...)."""
        layout = DepthwiseLayout(multiplier=self.depth_multiplier)
        self.declare_weight("depthwise_kernel", initializer, regularizer, attribute=attribute, layout=layout)

    def channels_in(self, shape: Any) -> int:
        """The number of channels of inputs of this shape."""
        if len(shape) != self.rank + 2:
            raise ShapeError(f"{self.name}: inputs must have rank {self.rank + 2}, got shape {tuple(shape)}")
        return int(shape[1 if self.data_format == "channels_first" else -1])

    def convolved(self, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """The depthwise convolution of the inputs, channels second."""
        channels = weight.shape[0] // self.depth_multiplier
        if self.channels_in(inputs.shape) != channels:
            raise ShapeError(f"{self.name}: expected {channels} input channels, got shape {tuple(inputs.shape)}")
        x = inputs if self.data_format == "channels_first" else inputs.movedim(-1, 1)
        x = as_floating(x, weight.dtype)
        if self.padding == "same":
            x = pad_same(x, self.kernel_size, self.strides, self.dilation_rate)
        return type(self).convolve(x, weight, bias, self.strides, 0, self.dilation_rate, channels)

    def finished(self, x: torch.Tensor) -> torch.Tensor:
        """The output from what is computed channels second."""
        output: torch.Tensor = self.activation(x if self.data_format == "channels_first" else x.movedim(1, -1))
        return output


class _DepthwiseConvolution(_Depthwise):
    weight: torch.Tensor

    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        shape = (kernel_size, strides, padding, depth_multiplier, data_format, dilation_rate)
        super().__init__(*shape, activation, use_bias, activity_regularizer=activity_regularizer, **kwargs)
        self.declare_depthwise(depthwise_initializer, depthwise_regularizer, "weight")
        self.declare_weight("bias", bias_initializer, bias_regularizer)

    def build(self, input_shape: Any) -> None:
        channels = self.channels_in(input_shape)
        self.build_weight("depthwise_kernel", (*self.kernel_size, channels, self.depth_multiplier))
        if self.use_bias:
            self.build_weight("bias", (channels * self.depth_multiplier,))

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.finished(self.convolved(inputs, self.weight, self.bias))


class _SeparableConvolution(_Depthwise):
    pointwise_regularizer = RegularizerOf("pointwise_kernel")
    pointwise_kernel = KerasView("pointwise_kernel")
    depthwise_weight: torch.Tensor
    pointwise_weight: torch.Tensor

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        shape = (kernel_size, strides, padding, depth_multiplier, data_format, dilation_rate)
        super().__init__(*shape, activation, use_bias, activity_regularizer=activity_regularizer, **kwargs)
        self.filters = integer("filters", filters, self.name)
        self.declare_depthwise(depthwise_initializer, depthwise_regularizer, "depthwise_weight")
        self.declare_weight(
            "pointwise_kernel",
            pointwise_initializer,
            pointwise_regularizer,
            attribute="pointwise_weight",
            layout=CONV_LAYOUTS[self.rank],
        )
        self.declare_weight("bias", bias_initializer, bias_regularizer)

    def build(self, input_shape: Any) -> None:
        channels = self.channels_in(input_shape)
        self.build_weight("depthwise_kernel", (*self.kernel_size, channels, self.depth_multiplier))
        ones = (1,) * self.rank
        self.build_weight("pointwise_kernel", (*ones, channels * self.depth_multiplier, self.filters))
        if self.use_bias:
            self.build_weight("bias", (self.filters,))

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        x = self.convolved(inputs, self.depthwise_weight, None)
        return self.finished(type(self).convolve(x, self.pointwise_weight, self.bias))


@built_in("layer", module="keras.layers")
class DepthwiseConv1D(_DepthwiseConvolution):
    """Each channel of (batch, steps, channels) convolved by `depth_multiplier` kernels of its own.

    `depthwise_kernel` has Keras's shape (size, channels, multiplier); `state_dict` holds `weight` and `bias`, as
    `torch.nn.Conv1d` with as many groups as channels does. `padding` is "valid" or "same".

    Raises ArgumentError for bad or contradictory arguments, ShapeError for inputs of another rank or number of
    channels. Source: Keras 3.15.1.

    >>> DepthwiseConv1D(3, depth_multiplier=2, depthwise_regularizer="l2")(torch.ones(1, 5, 4)).shape
    torch.Size([1, 3, 8])
    """

    rank = 1
    convolve = staticmethod(F.conv1d)


@built_in("layer", module="keras.layers")
class DepthwiseConv2D(_DepthwiseConvolution):
    """Each channel of (batch, rows, columns, channels) convolved by `depth_multiplier` kernels of its own.

    As `DepthwiseConv1D`. Source: Keras 3.15.1.

    >>> DepthwiseConv2D(3)(torch.ones(1, 5, 5, 4)).shape
    torch.Size([1, 3, 3, 4])
    """

    rank = 2
    convolve = staticmethod(F.conv2d)


@built_in("layer", module="keras.layers", names=["SeparableConvolution1D"])
class SeparableConv1D(_SeparableConvolution):
    """A depthwise convolution, then one of size 1 that mixes the channels; one bias and activation at the end.

    `depthwise_kernel` has Keras's shape (size, channels, multiplier), `pointwise_kernel` (1, channels * multiplier,
    filters); `state_dict` holds them as `depthwise_weight` and `pointwise_weight` in torch's layout, and `bias`.

    Raises ArgumentError for bad or contradictory arguments, ShapeError for inputs of another rank or number of
    channels. Source: Keras 3.15.1.

    >>> SeparableConv1D(6, 3, pointwise_regularizer="l1")(torch.ones(1, 5, 4)).shape
    torch.Size([1, 3, 6])
    """

    rank = 1
    convolve = staticmethod(F.conv1d)


@built_in("layer", module="keras.layers", names=["SeparableConvolution2D"])
class SeparableConv2D(_SeparableConvolution):
    """As `SeparableConv1D`, over rows and columns. Source: Keras 3.15.1.

    >>> SeparableConv2D(6, 3)(torch.ones(1, 5, 5, 4)).shape
    torch.Size([1, 3, 3, 6])
    """

    rank = 2
    convolve = staticmethod(F.conv2d)
