"""Conv1DTranspose, Conv2DTranspose and Conv3DTranspose."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from penalize.arguments import integer
from penalize.errors import ArgumentError, ShapeError
from penalize.layers.convolution import SlidingKernel
from penalize.layers.inputs import as_floating
from penalize.layers.weight_attributes import WithKernel
from penalize.layers.weights import CONV_LAYOUTS
from penalize.registry import built_in

__all__ = ["Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "transposed_sizes"]


def transposed_sizes(size: int, window: int, stride: int, padding: str, extra: int | None) -> tuple[int, int, int]:
    """Along one axis: the output's entries, how many to crop at each end first, and how many to add at the end.

    Uncropped there are (size - 1) * stride + window, dilation being part of window; `extra` is the output_padding. Of
    an odd number to crop, the last one is left for the end. Source: Keras 3.15.1, found by trying.

    >>> transposed_sizes(5, window=4, stride=2, padding="same", extra=None)
    (10, 1, 0)
    >>> transposed_sizes(5, window=3, stride=2, padding="same", extra=0)
    (9, 1, 0)
    """
    full = (size - 1) * stride + window
    # "same" keeps size * stride entries, "valid" as many at least.
    more = stride - window if padding == "same" else max(stride - window, 0)
    if extra is not None:
        more = extra - (2 * (window // 2) if padding == "same" else 0)
    # Cropped to nothing, torch raises; Keras gives an empty output.
    return full + more, max(-more, 0) // 2 if full + more else 0, max(more, 0)


class _ConvolutionTranspose(WithKernel, SlidingKernel):
    weight: torch.Tensor
    # As torch's convolutions say that their filters lie along axis 1.
    transposed = True

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str = "valid",
        output_padding: int | tuple[int, ...] | None = None,
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
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
        self.output_padding = self._as_output_padding(output_padding)
        kernel = (kernel_initializer, kernel_regularizer, kernel_constraint)
        self.declare_weight("kernel", *kernel, attribute="weight", layout=CONV_LAYOUTS[self.rank])
        self.declare_weight("bias", bias_initializer, bias_regularizer, bias_constraint)

    def build(self, input_shape: Any) -> None:
        self.build_weight("kernel", (*self.kernel_size, self.filters, self.channels_in(input_shape)))
        if self.use_bias:
            self.build_weight("bias", (self.filters,))

    def changed(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight
        if x.shape[1] != weight.shape[0]:
            raise ShapeError(f"{self.name}: expected {weight.shape[0]} input channels, got {x.shape[1]}")
        paddings = self.output_padding or (None,) * self.rank
        windows = [(size - 1) * rate + 1 for size, rate in zip(self.kernel_size, self.dilation_rate, strict=True)]
        axes = zip(x.shape[2:], windows, self.strides, paddings, strict=True)
        sizes = [transposed_sizes(size, window, stride, self.padding, extra) for size, window, stride, extra in axes]
        before, after = [crop for _, crop, _ in sizes], [more for _, _, more in sizes]
        x = as_floating(x, weight.dtype)
        y = type(self).convolve(x, weight, self.bias, self.strides, before, after, 1, self.dilation_rate)
        for axis, (kept, _, _) in enumerate(sizes, start=2):
            y = y.narrow(axis, 0, kept)
        return y

    def _as_output_padding(self, value: Any) -> tuple[int, ...] | None:
        if value is None:
            return None
        items = tuple(value) if isinstance(value, tuple | list) else (value,) * self.rank
        if len(items) != self.rank:
            expected = f"None, an integer or {self.rank} integers"
            raise ArgumentError(f"{self.name}: output_padding must be {expected}, got {value!r:.80}")
        result = tuple(integer("output_padding", item, self.name, least=0) for item in items)
        if any(extra >= stride for extra, stride in zip(result, self.strides, strict=True)):
            expected = f"less than strides {self.strides} along every axis"
            raise ArgumentError(f"{self.name}: output_padding must be {expected}, got {result}")
        return result


@built_in("layer", module="keras.layers", names=["Convolution1DTranspose"])
class Conv1DTranspose(_ConvolutionTranspose):
    """The transpose of a convolution over one axis: each input step adds its multiple of the kernel to the output.

    Inputs (batch, steps, channels), output (batch, new steps, filters); channels second for "channels_first". `kernel`
    has Keras's shape (size, filters, channels); `state_dict` holds `weight` (channels, filters, size) and `bias`, as
    `torch.nn.ConvTranspose1d` does.

    Parameters: `filters`; `kernel_size`, `strides` 1, `dilation_rate` 1, integers or one for each axis; `padding`;
    `output_padding`, None or integers below the strides; the rest as in `Conv1D`. With w = (kernel_size - 1) *
    dilation_rate + 1, "valid" gives n = (steps - 1) * stride + w new steps, at least steps * stride, and "same" gives
    steps * stride. With an output_padding, "valid" gives n + output_padding, and "same" 2 * (w // 2) less.

    Raises ArgumentError for bad or contradictory arguments (strides and dilation_rate both above 1, output_padding not
    below strides), ShapeError for inputs of another rank or number of channels. Source: Keras 3.15.1.

    >>> Conv1DTranspose(8, 3, strides=2, padding="same", kernel_regularizer="l2")(torch.ones(2, 5, 4)).shape
    torch.Size([2, 10, 8])
    """

    rank = 1
    convolve = staticmethod(F.conv_transpose1d)


@built_in("layer", module="keras.layers", names=["Convolution2DTranspose"])
class Conv2DTranspose(_ConvolutionTranspose):
    """As `Conv1DTranspose`, over rows and columns; `kernel` (height, width, filters, channels). Source: Keras 3.15.1.

    >>> Conv2DTranspose(8, 2, strides=2, kernel_regularizer="l1")(torch.ones(2, 5, 5, 4)).shape
    torch.Size([2, 10, 10, 8])
    """

    rank = 2
    convolve = staticmethod(F.conv_transpose2d)


@built_in("layer", module="keras.layers", names=["Convolution3DTranspose"])
class Conv3DTranspose(_ConvolutionTranspose):
    """As `Conv1DTranspose`, over three axes; `kernel` (ka, kb, kc, filters, channels). Source: Keras 3.15.1.

    >>> Conv3DTranspose(2, 3)(torch.ones(1, 3, 3, 3, 1)).shape
    torch.Size([1, 5, 5, 5, 2])
    """

    rank = 3
    convolve = staticmethod(F.conv_transpose3d)

    # Keras has data_format and output_padding the other way round here.
    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        output_padding: int | tuple[int, ...] | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
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
        super().__init__(
            filters,
            kernel_size,
            strides,
            padding,
            output_padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            activity_regularizer,
            kernel_constraint,
            bias_constraint,
            **kwargs,
        )
