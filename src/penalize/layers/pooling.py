"""The largest or mean value in windows of one, two or three axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from penalize.arguments import choice, integers
from penalize.layers.padding import pad_same
from penalize.layers.spatial import Spatial, as_data_format
from penalize.registry import built_in

__all__ = [
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
]


class _Pooling(Spatial):
    """What poolings share; `pool` is torch's function."""

    pool: ClassVar[Callable[..., torch.Tensor]]

    def __init__(
        self,
        pool_size: int | tuple[int, ...] = 2,
        strides: int | tuple[int, ...] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = integers("pool_size", pool_size, self.rank, self.name)
        self.strides = self.pool_size if strides is None else integers("strides", strides, self.rank, self.name)
        self.padding = choice("padding", padding, ("valid", "same"), self.name)
        self.data_format = as_data_format(data_format, self.name)

    def padded(self, x: torch.Tensor, value: float) -> torch.Tensor:
        """`x` padded as `padding` says."""
        return pad_same(x, self.pool_size, self.strides, (1,) * self.rank, value) if self.padding == "same" else x


def _max_pool1d(x: torch.Tensor, window: tuple[int, ...], stride: tuple[int, ...]) -> torch.Tensor:
    """`F.max_pool1d`; for `torch.export` with an axis more, as torch 2.13 has no `max_pool1d` of unknown size."""
    if torch.compiler.is_exporting():
        return F.max_pool2d(x.unsqueeze(2), (1, *window), (1, *stride)).squeeze(2)
    return F.max_pool1d(x, window, stride)


class _MaxPooling(_Pooling):
    def changed(self, x: torch.Tensor) -> torch.Tensor:
        return type(self).pool(self.padded(x, float("-inf")), self.pool_size, self.strides)


class _AveragePooling(_Pooling):
    def changed(self, x: torch.Tensor) -> torch.Tensor:
        means = type(self).pool(self.padded(x, 0.0), self.pool_size, self.strides)
        if self.padding == "valid":
            return means
        # Padding is no part of a mean: divide by the share of each window that lies on the input.
        return means / type(self).pool(self.padded(torch.ones_like(x[:1, :1]), 0.0), self.pool_size, self.strides)


@built_in("layer", module="keras.layers", names=["MaxPool1D"])
class MaxPooling1D(_MaxPooling):
    """The largest value in each window of inputs (batch, steps, channels), or channels second.

    Parameters: `pool_size` 2; `strides`, default `pool_size`; `padding` "valid" or "same"; `data_format`; those of
    `Layer`. Raises ArgumentError for bad arguments, ShapeError for inputs of another rank. Source: Keras 3.15.1.

    >>> MaxPooling1D(padding="same")(torch.tensor([[[1.0], [3.0], [2.0]]])).flatten()
    tensor([3., 2.])
    """

    rank = 1
    pool = staticmethod(_max_pool1d)


@built_in("layer", module="keras.layers", names=["MaxPool2D"])
class MaxPooling2D(_MaxPooling):
    """The largest value in each window of inputs (batch, rows, columns, channels), or channels second.

    Parameters: `pool_size` 2; `strides`, default `pool_size`; `padding` "valid" or "same"; `data_format`; those of
    `Layer`. Raises ArgumentError for bad arguments, ShapeError for inputs of another rank. Source: Keras 3.15.1.

    >>> import torch
    >>> MaxPooling2D()(torch.ones(2, 9, 9, 3)).shape, MaxPooling2D(padding="same")(torch.ones(2, 9, 9, 3)).shape
    (torch.Size([2, 4, 4, 3]), torch.Size([2, 5, 5, 3]))
    """

    rank = 2
    pool = staticmethod(F.max_pool2d)


@built_in("layer", module="keras.layers", names=["MaxPool3D"])
class MaxPooling3D(_MaxPooling):
    """The largest value in each window of inputs (batch, a, b, c, channels), or channels second.

    Parameters and errors as of `MaxPooling2D`. Source: Keras 3.15.1.

    >>> MaxPooling3D((1, 2, 2))(torch.ones(1, 4, 4, 4, 2)).shape
    torch.Size([1, 4, 2, 2, 2])
    """

    rank = 3
    pool = staticmethod(F.max_pool3d)


@built_in("layer", module="keras.layers", names=["AvgPool1D"])
class AveragePooling1D(_AveragePooling):
    """The mean of each window of inputs (batch, steps, channels), or channels second; padding is no part of a mean.

    Parameters and errors as of `MaxPooling1D`. Source: Keras 3.15.1.

    >>> AveragePooling1D(padding="same")(torch.tensor([[[1.0], [3.0], [2.0]]])).flatten()
    tensor([2., 2.])
    """

    rank = 1
    pool = staticmethod(F.avg_pool1d)


@built_in("layer", module="keras.layers", names=["AvgPool2D"])
class AveragePooling2D(_AveragePooling):
    """The mean of each window of inputs (batch, rows, columns, channels), or channels second.

    Padding is no part of a mean. Parameters and errors as of `MaxPooling2D`. Source: Keras 3.15.1.

    >>> AveragePooling2D(3)(torch.ones(1, 9, 9, 2)).shape
    torch.Size([1, 3, 3, 2])
    """

    rank = 2
    pool = staticmethod(F.avg_pool2d)


@built_in("layer", module="keras.layers", names=["AvgPool3D"])
class AveragePooling3D(_AveragePooling):
    """The mean of each window of inputs (batch, a, b, c, channels), or channels second.

    Padding is no part of a mean. Parameters and errors as of `MaxPooling2D`. Source: Keras 3.15.1.

    >>> AveragePooling3D()(torch.ones(1, 4, 4, 4, 2)).shape
    torch.Size([1, 2, 2, 2, 2])
    """

    rank = 3
    pool = staticmethod(F.avg_pool3d)
