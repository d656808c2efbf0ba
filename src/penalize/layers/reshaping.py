"""Layers that move, repeat, cut or rescale values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from penalize.arguments import choice, integer, integers
from penalize.errors import ArgumentError, ShapeError
from penalize.layers.layer import Layer
from penalize.layers.spatial import Spatial, as_data_format
from penalize.registry import built_in

__all__ = [
    "Flatten",
    "Permute",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "UpSampling1D",
    "UpSampling2D",
    "UpSampling3D",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "ZeroPadding3D",
]


@built_in("layer", module="keras.layers")
class Flatten(Layer):
    """All axes but the first in one; inputs (batch,) become (batch, 1).

    With `data_format="channels_first"` the channels are moved last first, so that both formats flatten alike.
    Raises ArgumentError for another data_format. Source: Keras 3.15.1.

    >>> import torch
    >>> Flatten()(torch.ones(2, 3, 4)).shape
    torch.Size([2, 12])
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = as_data_format(data_format, self.name)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.data_format == "channels_first" and inputs.ndim > 2:
            inputs = inputs.movedim(1, -1)
        return inputs.reshape(inputs.shape[0], -1) if inputs.ndim > 1 else inputs[:, None]


@built_in("layer", module="keras.layers")
class Reshape(Layer):
    """All axes but the first in the shape `target_shape`, in which one size may be -1.

    Raises ArgumentError for a bad target, ShapeError for inputs of another number of values. Source: Keras 3.15.1.

    >>> Reshape((2, -1))(torch.ones(3, 8)).shape
    torch.Size([3, 2, 4])
    """

    def __init__(self, target_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        sizes = tuple(target_shape)
        if sum(size == -1 for size in sizes) > 1:
            raise ArgumentError(f"{self.name}: target_shape may hold -1 once, got {sizes}")
        self.target_shape = tuple(-1 if size == -1 else integer("target_shape", size, self.name) for size in sizes)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        values, known = math.prod(inputs.shape[1:]), math.prod(size for size in self.target_shape if size != -1)
        if values % known if -1 in self.target_shape else values != known:
            raise ShapeError(
                f"{self.name}: cannot give inputs of shape {tuple(inputs.shape)} the shape {self.target_shape}"
            )
        return inputs.reshape(inputs.shape[0], *self.target_shape)


@built_in("layer", module="keras.layers")
class Permute(Layer):
    """The axes after the first in the order `dims`, which are counted from 1. Source: Keras 3.15.1.

    Raises ArgumentError for dims that are no permutation, ShapeError for inputs of another rank.

    >>> Permute((2, 1))(torch.ones(3, 4, 5)).shape
    torch.Size([3, 5, 4])
    """

    def __init__(self, dims: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ArgumentError(f"{self.name}: dims must be a permutation of 1 to {len(self.dims)}, got {self.dims}")

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        if inputs.ndim != len(self.dims) + 1:
            raise ShapeError(f"{self.name}: inputs must have rank {len(self.dims) + 1}, got {tuple(inputs.shape)}")
        return inputs.permute(0, *self.dims)


@built_in("layer", module="keras.layers")
class RepeatVector(Layer):
    """(batch, features) repeated `n` times as (batch, n, features). Source: Keras 3.15.1.

    Raises ArgumentError for a bad n, ShapeError for inputs of another rank.

    >>> RepeatVector(3)(torch.ones(2, 4)).shape
    torch.Size([2, 3, 4])
    """

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n = integer("n", n, self.name)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        if inputs.ndim != 2:
            raise ShapeError(f"{self.name}: inputs must have rank 2, got shape {tuple(inputs.shape)}")
        return inputs[:, None].expand(-1, self.n, -1)


@built_in("layer", module="keras.layers")
class Rescaling(Layer):
    """`inputs * scale + offset`; both are numbers, or sequences along the last axis. Source: Keras 3.15.1.

    >>> Rescaling(1 / 255)(torch.tensor([255.0]))
    tensor([1.])
    """

    supports_masking = True

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale
        self.offset = offset

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        x = inputs if inputs.is_floating_point() else inputs.to(self.dtype)
        scale, offset = (torch.as_tensor(value, dtype=x.dtype, device=x.device) for value in (self.scale, self.offset))
        return x * scale + offset


class _ZeroPadding(Spatial):
    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = as_data_format(data_format, self.name)
        self.padding = self._pairs(padding)

    def _pairs(self, padding: Any) -> tuple[tuple[int, int], ...]:
        """(before, after) for each axis: from one integer for all, one for each, or pairs."""
        if isinstance(padding, int):
            padding = (padding,) * self.rank
        elif self.rank == 1 and isinstance(padding, list | tuple) and len(padding) == 2:
            padding = (padding,)
        if not isinstance(padding, list | tuple) or len(padding) != self.rank:
            raise ArgumentError(
                f"{self.name}: padding must be an integer, or {self.rank} integers or pairs, got {padding!r:.80}"
            )
        pairs = []
        for item in padding:
            pair = (item, item) if isinstance(item, int) else tuple(item)
            if len(pair) != 2:
                raise ArgumentError(f"{self.name}: padding must be pairs (before, after), got {padding!r:.80}")
            before, after = (integer("padding", amount, self.name, least=0) for amount in pair)
            pairs.append((before, after))
        return tuple(pairs)

    def changed(self, x: torch.Tensor) -> torch.Tensor:
        # torch wants the last axis first.
        return F.pad(x, [amount for pair in reversed(self.padding) for amount in pair])


@built_in("layer", module="keras.layers")
class ZeroPadding1D(_ZeroPadding):
    """Zeros before and after the steps of inputs (batch, steps, channels), or channels second.

    `padding` is one integer, or a pair (before, after). Raises ArgumentError for bad arguments, ShapeError for inputs
    of another rank. Source: Keras 3.15.1.

    >>> ZeroPadding1D((0, 2))(torch.ones(1, 3, 4)).shape
    torch.Size([1, 5, 4])
    """

    rank = 1

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; the padding as a pair."""
        return {**super().get_config(), "padding": list(self.padding[0])}


@built_in("layer", module="keras.layers")
class ZeroPadding2D(_ZeroPadding):
    """Zeros around rows and columns; `padding` is an integer, one an axis, or a pair (before, after) an axis.

    >>> ZeroPadding2D(((1, 0), (2, 2)))(torch.ones(1, 3, 3, 1)).shape
    torch.Size([1, 4, 7, 1])
    """

    rank = 2


@built_in("layer", module="keras.layers")
class ZeroPadding3D(_ZeroPadding):
    """Zeros around three spatial axes; `padding` as of `ZeroPadding2D`."""

    rank = 3


class _UpSampling(Spatial):
    def __init__(self, size: int | tuple[int, ...] = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = integers("size", size, self.rank, self.name)

    def changed(self, x: torch.Tensor) -> torch.Tensor:
        for axis, times in enumerate(self.size, start=2):
            x = x.repeat_interleave(times, dim=axis)
        return x


@built_in("layer", module="keras.layers")
class UpSampling1D(_UpSampling):
    """Each step of inputs (batch, steps, channels) repeated `size` times. Source: Keras 3.15.1.

    Raises ArgumentError for a bad size, ShapeError for inputs of another rank.

    >>> UpSampling1D()(torch.tensor([[[1.0], [2.0]]])).flatten()
    tensor([1., 1., 2., 2.])
    """

    rank = 1

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; the size as one integer."""
        return {**super().get_config(), "size": self.size[0]}


@built_in("layer", module="keras.layers")
class UpSampling2D(_UpSampling):
    """Rows and columns repeated `size` times, or interpolated: "nearest" (default), "bilinear" or "bicubic".

    Raises ArgumentError for bad arguments, ShapeError for inputs of another rank. Source: Keras 3.15.1.

    >>> UpSampling2D((1, 3))(torch.ones(1, 2, 2, 1)).shape
    torch.Size([1, 2, 6, 1])
    """

    rank = 2

    def __init__(
        self,
        size: int | tuple[int, int] = (2, 2),
        data_format: str | None = None,
        interpolation: str = "nearest",
        **kwargs: Any,
    ) -> None:
        super().__init__(size, **kwargs)
        self.data_format = as_data_format(data_format, self.name)
        self.interpolation = choice("interpolation", interpolation, ("nearest", "bilinear", "bicubic"), self.name)

    def changed(self, x: torch.Tensor) -> torch.Tensor:
        if self.interpolation == "nearest":
            return super().changed(x)
        size = [length * times for length, times in zip(x.shape[2:], self.size, strict=True)]
        return F.interpolate(x, size, mode=self.interpolation, align_corners=False, antialias=False)


@built_in("layer", module="keras.layers")
class UpSampling3D(_UpSampling):
    """Three spatial axes repeated `size` times; as `UpSampling1D`, with `data_format`."""

    rank = 3

    def __init__(self, size: int | tuple[int, ...] = (2, 2, 2), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(size, **kwargs)
        self.data_format = as_data_format(data_format, self.name)
