"""MaxPooling2D."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from penalize.arguments import choice, integers
from penalize.errors import ShapeError
from penalize.layers.convolution import as_data_format
from penalize.layers.layer import Layer
from penalize.layers.padding import pad_same
from penalize.registry import built_in

__all__ = ["MaxPooling2D"]


@built_in("layer", module="keras.layers", names=["MaxPool2D"])
class MaxPooling2D(Layer):
    """The largest value in each window; inputs (batch, rows, columns, channels), or channels second.

    Parameters: `pool_size` 2; `strides`, default `pool_size`; `padding` "valid" or "same"; `data_format`; those of
    `Layer`. Raises ArgumentError for bad arguments, ShapeError for inputs of another rank. Source: Keras 3.15.1.

    >>> import torch
    >>> MaxPooling2D()(torch.ones(2, 9, 9, 3)).shape, MaxPooling2D(padding="same")(torch.ones(2, 9, 9, 3)).shape
    (torch.Size([2, 4, 4, 3]), torch.Size([2, 5, 5, 3]))
    """

    def __init__(
        self,
        pool_size: int | tuple[int, int] = (2, 2),
        strides: int | tuple[int, int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = integers("pool_size", pool_size, 2, self.name)
        self.strides = self.pool_size if strides is None else integers("strides", strides, 2, self.name)
        self.padding = choice("padding", padding, ("valid", "same"), self.name)
        self.data_format = as_data_format(data_format, self.name)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        if inputs.ndim != 4:
            raise ShapeError(f"{self.name}: inputs must have rank 4, got shape {tuple(inputs.shape)}")
        x = inputs if self.data_format == "channels_first" else inputs.movedim(-1, 1)
        if self.padding == "same":
            x = pad_same(x, self.pool_size, self.strides, (1, 1), value=float("-inf"))
        x = F.max_pool2d(x, self.pool_size, self.strides)
        return x if self.data_format == "channels_first" else x.movedim(1, -1)
