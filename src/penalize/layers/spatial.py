"""What layers over spatial axes share: the rank of inputs, and where their channels are."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from penalize.arguments import choice
from penalize.errors import ShapeError
from penalize.layers.layer import Layer

__all__ = ["Spatial", "as_data_format"]


def as_data_format(value: Any, layer: str) -> str:
    """ "channels_last" (also for None) or "channels_first"."""
    formats = ("channels_last", "channels_first")
    return choice("data_format", formats[0] if value is None else value, formats, layer)


class Spatial(Layer):
    """A layer of inputs (batch, `rank` spatial axes, channels), or channels second; computes with channels second."""

    rank: ClassVar[int]
    data_format = "channels_last"

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        self.channels_in(inputs.shape)
        if self.data_format == "channels_first":
            return self.changed(inputs)
        return self.changed(inputs.movedim(-1, 1)).movedim(1, -1)

    def changed(self, x: torch.Tensor) -> torch.Tensor:
        """The output for x, channels second."""
        raise NotImplementedError(f"{type(self).__name__} must define changed(x)")

    def channels_in(self, shape: Any) -> int:
        """The number of channels of inputs of this shape; ShapeError for another rank."""
        if len(shape) != self.rank + 2:
            raise ShapeError(f"{self.name}: inputs must have rank {self.rank + 2}, got shape {tuple(shape)}")
        return int(shape[1 if self.data_format == "channels_first" else -1])
