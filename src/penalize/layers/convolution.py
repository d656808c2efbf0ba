"""Conv1D, Conv2D and Conv3D."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from penalize.arguments import choice, integer, integers
from penalize.errors import ArgumentError, ShapeError
from penalize.layers.activated import activated
from penalize.layers.inputs import as_floating
from penalize.layers.padding import pad_same
from penalize.layers.spatial import Spatial, as_data_format
from penalize.layers.weight_attributes import WithBias, WithKernel
from penalize.layers.weights import CONV_LAYOUTS
from penalize.registry import built_in

__all__ = ["Conv1D", "Conv2D", "Conv3D", "SlidingKernel"]


class SlidingKernel(WithBias, Spatial):
    """What convolutions of every kind share: a kernel that slides over padded inputs, an activation at the end."""

    convolve: ClassVar[Callable[..., torch.Tensor]]
    paddings: ClassVar[tuple[str, ...]] = ("valid", "same")

    bias: torch.Tensor | None

    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...],
        padding: str,
        data_format: str | None,
        dilation_rate: int | tuple[int, ...],
        activation: Any,
        use_bias: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size = integers("kernel_size", kernel_size, self.rank, self.name)
        self.strides = integers("strides", strides, self.rank, self.name)
        self.padding = choice("padding", padding, self.paddings, self.name)
        self.data_format = as_data_format(data_format, self.name)
        self.dilation_rate = integers("dilation_rate", dilation_rate, self.rank, self.name)
        self.activation = self.as_activation(activation)
        self.use_bias = bool(use_bias)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ArgumentError(
                f"{self.name}: strides {self.strides} and dilation_rate {self.dilation_rate} cannot both be above 1"
            )

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return activated(self.activation, super().call(inputs))

    def convolved(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, groups: int) -> torch.Tensor:
        """The convolution of x, channels second, with its kernel; ShapeError for another number of channels."""
        channels = weight.shape[1] * groups
        if x.shape[1] != channels:
            raise ShapeError(f"{self.name}: expected {channels} input channels, got {x.shape[1]}")
        x = as_floating(x, weight.dtype)
        if self.padding == "same":
            x = pad_same(x, self.kernel_size, self.strides, self.dilation_rate)
        elif self.padding == "causal":
            x = F.pad(x, ((self.kernel_size[0] - 1) * self.dilation_rate[0], 0))
        return type(self).convolve(x, weight, bias, self.strides, 0, self.dilation_rate, groups)


class _Convolution(WithKernel, SlidingKernel):
    weight: torch.Tensor

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
        groups: int = 1,
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
        sliding = (kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias)
        super().__init__(*sliding, activity_regularizer=activity_regularizer, **kwargs)
        self.filters = integer("filters", filters, self.name)
        self.groups = integer("groups", groups, self.name)
        if self.filters % self.groups:
            raise ArgumentError(f"{self.name}: filters ({self.filters}) must be a multiple of groups ({self.groups})")
        kernel = (kernel_initializer, kernel_regularizer, kernel_constraint)
        self.declare_weight("kernel", *kernel, attribute="weight", layout=CONV_LAYOUTS[self.rank])
        self.declare_weight("bias", bias_initializer, bias_regularizer, bias_constraint)

    def build(self, input_shape: Any) -> None:
        channels = self.channels_in(input_shape)
        if channels % self.groups:
            raise ArgumentError(
                f"{self.name}: the number of input channels ({channels}) must be a multiple of groups ({self.groups})"
            )
        self.build_weight("kernel", (*self.kernel_size, channels // self.groups, self.filters))
        if self.use_bias:
            self.build_weight("bias", (self.filters,))

    def changed(self, x: torch.Tensor) -> torch.Tensor:
        return self.convolved(x, self.weight, self.bias, self.groups)


@built_in("layer", module="keras.layers", names=["Convolution1D"])
class Conv1D(_Convolution):
    """Convolution over one axis; inputs (batch, steps, channels), or (batch, channels, steps) for "channels_first".

    `kernel` has Keras's shape (size, channels / groups, filters); `state_dict` holds `weight` and `bias` as
    `torch.nn.Conv1d` does. `padding` is "valid", "same" (output ceil(steps / stride), the odd zero after) or "causal"
    (zeros before only).

    Raises ArgumentError for bad or contradictory arguments, ShapeError for inputs of another rank or number of
    channels. Source: Keras 3.15.1.

    >>> import torch
    >>> Conv1D(8, 3, padding="causal", kernel_regularizer="l2")(torch.ones(2, 10, 4)).shape
    torch.Size([2, 10, 8])
    """

    rank = 1
    convolve = staticmethod(F.conv1d)
    paddings = ("valid", "same", "causal")


@built_in("layer", module="keras.layers", names=["Convolution2D"])
class Conv2D(_Convolution):
    """Convolution over two axes; inputs (batch, rows, columns, channels), or channels second for "channels_first".

    `kernel` has Keras's shape (height, width, channels / groups, filters); `state_dict` holds `weight` and `bias` as
    `torch.nn.Conv2d` does. `padding` is "valid" or "same" (output ceil(size / stride), the odd zero after).

    Raises ArgumentError for bad or contradictory arguments, ShapeError for inputs of another rank or number of
    channels. Source: Keras 3.15.1.

    >>> import torch
    >>> Conv2D(8, 3, strides=2, padding="same", kernel_regularizer="l1")(torch.ones(2, 9, 9, 1)).shape
    torch.Size([2, 5, 5, 8])
    """

    rank = 2
    convolve = staticmethod(F.conv2d)


@built_in("layer", module="keras.layers", names=["Convolution3D"])
class Conv3D(_Convolution):
    """Convolution over three axes; inputs (batch, a, b, c, channels), or channels second for "channels_first".

    `kernel` has Keras's shape (ka, kb, kc, channels / groups, filters); `state_dict` holds `weight` and `bias` as
    `torch.nn.Conv3d` does. `padding` is "valid" or "same" (output ceil(size / stride), the odd zero after).

    Raises ArgumentError for bad or contradictory arguments, ShapeError for inputs of another rank or number of
    channels. Source: Keras 3.15.1.

    >>> import torch
    >>> Conv3D(2, 3)(torch.ones(1, 5, 5, 5, 1)).shape
    torch.Size([1, 3, 3, 3, 2])
    """

    rank = 3
    convolve = staticmethod(F.conv3d)
