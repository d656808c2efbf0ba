"""StackedRNNCells: cells one on top of the other, as one cell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from penalize.errors import ArgumentError
from penalize.layers.cells import refuse_mask_activity
from penalize.layers.layer import Layer
from penalize.registry import built_in

__all__ = ["StackedRNNCells"]


@built_in("layer", module="keras.layers")
class StackedRNNCells(Layer):
    """One timestep of several cells: each takes the output of the one before; the states are a list of theirs.

    Raises ArgumentError for what is no cell: a `Layer` with `state_size` and `call(inputs, states)`.
    Source: Keras 3.15.1.

    >>> import penalize
    >>> stack = StackedRNNCells([penalize.layers.LSTMCell(3), penalize.layers.GRUCell(2)])
    >>> stack.state_size
    [[3, 3], 2]
    """

    def __init__(self, cells: Iterable[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        refuse_mask_activity(self)
        given = list(cells)
        for cell in given:
            if not isinstance(cell, Layer) or not hasattr(cell, "state_size"):
                raise ArgumentError(
                    f"{self.name}: cells must be Layers with a state_size and call(inputs, states), got {cell!r:.80}"
                )
        if not given:
            raise ArgumentError(f"{self.name}: cells must hold one cell at least, got none")
        self.cells = nn.ModuleList(given)

    @property
    def layers(self) -> list[Any]:
        """The cells, from the first to the last."""
        return list(self.cells)

    @property
    def state_size(self) -> list[Any]:
        """The state sizes of the cells, from the first to the last."""
        return [cell.state_size for cell in self.layers]

    @property
    def output_size(self) -> Any:
        """The size of the last cell's output."""
        return getattr(self.layers[-1], "output_size", None)

    def get_initial_state(self, batch_size: int) -> list[Any]:
        """The first states of the cells; a single state stands for itself, several are a list."""
        states = []
        for cell in self.layers:
            own = cell.get_initial_state(batch_size)
            single = isinstance(own, list | tuple) and len(own) == 1
            states.append(own[0] if single else own)
        return states

    def build(self, input_shape: Any) -> None:
        for cell in self.layers:
            if not cell.built:
                cell._device_of_new_weights = self._build_device
                cell.build(input_shape)
            size = getattr(cell, "output_size", None) or cell.state_size
            size = size[0] if isinstance(size, list | tuple) else size
            input_shape = (input_shape[0], size)

    def call(self, inputs: torch.Tensor, states: Any) -> tuple[torch.Tensor, list[Any]]:
        new_states = []
        for cell, own in zip(self.layers, states, strict=True):
            inputs, new = cell(inputs, own if isinstance(own, list | tuple) else [own])
            single = isinstance(new, list | tuple) and len(new) == 1
            new_states.append(new[0] if single else list(new))
        return inputs, new_states
