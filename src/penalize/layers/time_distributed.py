"""TimeDistributed: one layer applied to every timestep."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from penalize.errors import ArgumentError, ShapeError
from penalize.layers.layer import Layer
from penalize.layers.normalization import BatchNormalization
from penalize.masks import set_masks
from penalize.placement import declarations_of
from penalize.registry import built_in

__all__ = ["TimeDistributed"]

BATCH_STATISTICS = (BatchNormalization, nn.modules.batchnorm._BatchNorm)


@built_in("layer", module="keras.layers")
class TimeDistributed(Layer):
    """Applies `layer` to every timestep of inputs (batch, time, ...), with the same weights.

    All timesteps go through `layer` at once, as one larger batch; one after the other only in training with batch
    normalization inside, whose statistics are those of each timestep. Activity penalties inside are those of the whole
    (batch, time, ...) output divided by the batch size. A mask (batch, time, steps, ...) reaches `layer` as (batch,
    steps, ...); one of (batch, time) only goes with the output.

    Raises ArgumentError when `layer` is no module, ShapeError for inputs of rank below 3 and for masks of another batch
    or time. Source: Keras 3.15.1.

    >>> import penalize
    >>> dense = penalize.layers.Dense(2, kernel_initializer="ones", activity_regularizer="l1")
    >>> layer = TimeDistributed(dense)
    >>> layer(torch.ones(2, 3, 4)).shape, [round(loss.item(), 4) for loss in layer.losses]
    (torch.Size([2, 3, 2]), [0.24])
    """

    supports_masking = True

    def __init__(self, layer: nn.Module, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(layer, nn.Module):
            raise ArgumentError(f"{self.name}: layer must be a Layer or another nn.Module, got {layer!r:.80}")
        self.layer = layer

    def build(self, input_shape: Any) -> None:
        if len(input_shape) < 3:
            raise ShapeError(f"{self.name}: inputs must be (batch, time, ...), got shape {tuple(input_shape)}")
        if isinstance(self.layer, Layer) and not self.layer.built:
            self.layer._device_of_new_weights = self._build_device
            self.layer.build((input_shape[0], *input_shape[2:]))

    def call(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> Any:
        if inputs.ndim < 3:
            raise ShapeError(f"{self.name}: inputs must be (batch, time, ...), got shape {tuple(inputs.shape)}")
        if mask is not None and mask.shape[:2] != inputs.shape[:2]:
            raise ShapeError(
                f"{self.name}: mask must begin with the inputs' (batch, time), {tuple(inputs.shape[:2])}, got shape "
                f"{tuple(mask.shape)}"
            )
        if mask is not None and (mask.ndim == 2 or not self._takes_masks()):
            mask = None
        if self.training and any(isinstance(part, BATCH_STATISTICS) for part in self.layer.modules()):
            steps = range(inputs.shape[1])
            return _stacked([self._step(inputs[:, i], None if mask is None else mask[:, i]) for i in steps])
        batch, time = inputs.shape[:2]
        declared = [declarations_of(part) for part in self.layer.modules()]
        records = [record for declarations in declared if declarations is not None for record in declarations.records()]
        before = [len(record.entries) for record in records]
        output = self._step(inputs.flatten(0, 1), None if mask is None else mask.flatten(0, 1))
        for record, count in zip(records, before, strict=True):
            # Each of these was divided by batch * time.
            record.entries = [
                *record.entries[:count],
                *((position, value * time) for position, value in record.entries[count:]),
            ]
        return _unflattened(output, (batch, time))

    def _takes_masks(self) -> bool:
        return any(isinstance(part, Layer) and "mask" in part._call_arguments for part in self.layer.modules())

    def _step(self, inputs: torch.Tensor, mask: torch.Tensor | None) -> Any:
        set_masks(inputs, mask)
        return self.layer(inputs)


def _stacked(outputs: list[Any]) -> Any:
    first = outputs[0]
    if isinstance(first, torch.Tensor):
        return torch.stack(outputs, 1)
    if isinstance(first, dict):
        return {key: _stacked([output[key] for output in outputs]) for key in first}
    return type(first)([_stacked([output[index] for output in outputs]) for index in range(len(first))])


def _unflattened(output: Any, sizes: tuple[int, int]) -> Any:
    if isinstance(output, torch.Tensor):
        return torch.unflatten(output, 0, sizes)
    if isinstance(output, dict):
        return {key: _unflattened(item, sizes) for key, item in output.items()}
    return type(output)([_unflattened(item, sizes) for item in output])
