"""Depthwise and separable convolutions over one or two axes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from penalize.arguments import integer
from penalize.layers.convolution import SlidingKernel
from penalize.layers.weight_attributes import WithDepthwiseKernel, WithPointwiseKernel
from penalize.layers.weights import CONV_LAYOUTS, DepthwiseLayout
from penalize.registry import built_in

__all__ = ["DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"]


class _Depthwise(WithDepthwiseKernel, SlidingKernel):
    """What they share: each channel convolved by `depth_multiplier` kernels of its own."""

    def declare_depthwise(self, weight: tuple[Any, Any, Any], depth_multiplier: int, attribute: str) -> None:
        """Describe the depthwise kernel: Keras's (k..., in, multiplier), torch's (in * multiplier, 1, k...)."""
        self.depth_multiplier = integer("depth_multiplier", depth_multiplier, self.name)
        layout = DepthwiseLayout(multiplier=self.depth_multiplier)
        self.declare_weight("depthwise_kernel", *weight, attribute=attribute, layout=layout)


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
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        sliding = (kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias)
        super().__init__(*sliding, activity_regularizer=activity_regularizer, **kwargs)
        depthwise = (depthwise_initializer, depthwise_regularizer, depthwise_constraint)
        self.declare_depthwise(depthwise, depth_multiplier, "weight")
        self.declare_weight("bias", bias_initializer, bias_regularizer, bias_constraint)

    def build(self, input_shape: Any) -> None:
        channels = self.channels_in(input_shape)
        self.build_weight("depthwise_kernel", (*self.kernel_size, channels, self.depth_multiplier))
        if self.use_bias:
            self.build_weight("bias", (channels * self.depth_multiplier,))

    def changed(self, x: torch.Tensor) -> torch.Tensor:
        return self.convolved(x, self.weight, self.bias, len(self.weight) // self.depth_multiplier)


class _SeparableConvolution(WithPointwiseKernel, _Depthwise):
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
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        sliding = (kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias)
        super().__init__(*sliding, activity_regularizer=activity_regularizer, **kwargs)
        self.filters = integer("filters", filters, self.name)
        depthwise = (depthwise_initializer, depthwise_regularizer, depthwise_constraint)
        self.declare_depthwise(depthwise, depth_multiplier, "depthwise_weight")
        self.declare_weight(
            "pointwise_kernel",
            pointwise_initializer,
            pointwise_regularizer,
            pointwise_constraint,
            attribute="pointwise_weight",
            layout=CONV_LAYOUTS[self.rank],
        )
        self.declare_weight("bias", bias_initializer, bias_regularizer, bias_constraint)

    def build(self, input_shape: Any) -> None:
        channels = self.channels_in(input_shape)
        self.build_weight("depthwise_kernel", (*self.kernel_size, channels, self.depth_multiplier))
        ones = (1,) * self.rank
        self.build_weight("pointwise_kernel", (*ones, channels * self.depth_multiplier, self.filters))
        if self.use_bias:
            self.build_weight("bias", (self.filters,))

    def changed(self, x: torch.Tensor) -> torch.Tensor:
        x = self.convolved(x, self.depthwise_weight, None, len(self.depthwise_weight) // self.depth_multiplier)
        return type(self).convolve(x, self.pointwise_weight, self.bias)


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
