"""Masking: timesteps that are padding, marked for the layers behind."""

from __future__ import annotations

from typing import Any

import torch

from penalize.arguments import number
from penalize.layers.layer import Layer
from penalize.registry import built_in

__all__ = ["Masking"]


@built_in("layer", module="keras.layers")
class Masking(Layer):
    """Marks the timesteps of (batch, time, features) whose features all equal `mask_value`, and sets them to 0.

    The mask (batch, time) goes with the output; layers that understand masks leave such steps out. Activity penalties
    count them all the same, as Keras's do, unless a layer has `mask_activity=True`.

    Raises ArgumentError for a value that is no finite number. Source: Keras 3.15.1.

    >>> from penalize.masks import mask_of
    >>> mask_of(Masking()(torch.tensor([[[1.0], [0.0]]])))
    tensor([[ True, False]])
    """

    supports_masking = True

    def __init__(self, mask_value: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mask_value = number("mask_value", mask_value, where=self.name)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * (inputs != self.mask_value).any(-1, keepdim=True)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> torch.Tensor:
        return (torch.as_tensor(inputs) != self.mask_value).any(-1)
