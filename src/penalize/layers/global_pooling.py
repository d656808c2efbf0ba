"""The largest or mean value over all spatial axes."""

from __future__ import annotations

from typing import Any

import torch

from penalize.layers.spatial import Spatial, as_data_format
from penalize.registry import built_in

__all__ = [
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
]


class _GlobalPooling(Spatial):
    """What global poolings share."""

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = as_data_format(data_format, self.name)
        self.keepdims = bool(keepdims)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        self.channels_in(inputs.shape)
        first = 2 if self.data_format == "channels_first" else 1
        return self.reduced(inputs, tuple(range(first, first + self.rank)))

    def reduced(self, x: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
        """One value for all of these axes."""
        raise NotImplementedError


class _GlobalMax(_GlobalPooling):
    def reduced(self, x: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
        return x.amax(axes, keepdim=self.keepdims)


class _GlobalAverage(_GlobalPooling):
    def reduced(self, x: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
        return x.mean(axes, keepdim=self.keepdims)


@built_in("layer", module="keras.layers", names=["GlobalMaxPool1D"])
class GlobalMaxPooling1D(_GlobalMax):
    """The largest value over the steps of inputs (batch, steps, channels), or channels second.

    Parameters: `data_format`; `keepdims` False; those of `Layer`. Raises ShapeError for inputs of another rank.
    Source: Keras 3.15.1.

    >>> GlobalMaxPooling1D()(torch.tensor([[[1.0], [3.0]]]))
    tensor([[3.]])
    """

    rank = 1


@built_in("layer", module="keras.layers", names=["GlobalMaxPool2D"])
class GlobalMaxPooling2D(_GlobalMax):
    """The largest value over rows and columns; as `GlobalMaxPooling1D`."""

    rank = 2


@built_in("layer", module="keras.layers", names=["GlobalMaxPool3D"])
class GlobalMaxPooling3D(_GlobalMax):
    """The largest value over three spatial axes; as `GlobalMaxPooling1D`."""

    rank = 3


@built_in("layer", module="keras.layers", names=["GlobalAvgPool1D"])
class GlobalAveragePooling1D(_GlobalAverage):
    """The mean over the steps of inputs (batch, steps, channels), or channels second; of those a mask keeps.

    Parameters: `data_format`; `keepdims` False; those of `Layer`. Raises ShapeError for inputs of another rank.
    Source: Keras 3.15.1.

    >>> GlobalAveragePooling1D(keepdims=True)(torch.tensor([[[1.0], [3.0]]]))
    tensor([[[2.]]])
    """

    rank = 1
    supports_masking = True

    def call(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        if mask is None:
            return super().call(inputs)
        self.channels_in(inputs.shape)
        steps = 2 if self.data_format == "channels_first" else 1
        kept = mask.to(inputs.dtype).unsqueeze(1 if self.data_format == "channels_first" else 2)
        count = kept.sum(steps, keepdim=self.keepdims).clamp(min=1)
        return (inputs * kept).sum(steps, keepdim=self.keepdims) / count

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        """None: the steps are gone."""


@built_in("layer", module="keras.layers", names=["GlobalAvgPool2D"])
class GlobalAveragePooling2D(_GlobalAverage):
    """The mean over rows and columns; as `GlobalAveragePooling1D`."""

    rank = 2


@built_in("layer", module="keras.layers", names=["GlobalAvgPool3D"])
class GlobalAveragePooling3D(_GlobalAverage):
    """The mean over three spatial axes; as `GlobalAveragePooling1D`."""

    rank = 3
