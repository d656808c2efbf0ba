"""ConvLSTM1D, ConvLSTM2D and ConvLSTM3D: LSTMs whose products with kernels are convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from penalize.arguments import choice, integers
from penalize.errors import ArgumentError, NotBuiltError, ShapeError
from penalize.layers.cells import States
from penalize.layers.lstm import LSTMCell
from penalize.layers.padding import output_size, pad_same
from penalize.layers.recurrent import CellLayer, OfCell
from penalize.layers.spatial import as_data_format
from penalize.layers.weights import CONV_LAYOUTS
from penalize.registry import built_in

__all__ = ["ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"]

CONVOLUTIONS: dict[int, Callable[..., torch.Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class _ConvLSTMCell(LSTMCell):
    """The weights of a ConvLSTM: `kernel` (k..., in, 4 filters), `recurrent_kernel` (k..., filters, 4 filters)."""

    def __init__(
        self,
        rank: int,
        filters: int,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...],
        padding: str,
        data_format: str | None,
        dilation_rate: int | tuple[int, ...],
        **arguments: Any,
    ) -> None:
        self.rank = rank
        self.weight_layout = CONV_LAYOUTS[rank]
        super().__init__(filters, **arguments)
        self.filters = self.units
        self.kernel_size = integers("kernel_size", kernel_size, rank, self.name)
        self.strides = integers("strides", strides, rank, self.name)
        self.padding = choice("padding", padding, ("valid", "same"), self.name)
        self.data_format = as_data_format(data_format, self.name)
        self.dilation_rate = integers("dilation_rate", dilation_rate, rank, self.name)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ArgumentError(
                f"{self.name}: strides {self.strides} and dilation_rate {self.dilation_rate} cannot both be above 1"
            )

    def build(self, input_shape: Any) -> None:
        if len(input_shape) != self.rank + 2:
            raise ShapeError(
                f"{self.name}: one timestep must have rank {self.rank + 2}, got shape {tuple(input_shape)}"
            )
        channels = input_shape[1 if self.data_format == "channels_first" else -1]
        self.step_shape = tuple(input_shape)
        self.build_weight("kernel", (*self.kernel_size, channels, 4 * self.filters))
        self.build_weight("recurrent_kernel", (*self.kernel_size, self.filters, 4 * self.filters))
        if self.use_bias:
            self.build_weight("bias", self.bias_shape, draw=self.draw_bias)

    def state_shape(self, step_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of each state for timesteps of this shape, in the layer's data format."""
        first = self.data_format == "channels_first"
        sizes = step_shape[2:] if first else step_shape[1:-1]
        options = zip(sizes, self.kernel_size, self.strides, self.dilation_rate, strict=True)
        spatial = [
            output_size(size, window, self.padding, stride, dilation) for size, window, stride, dilation in options
        ]
        return (step_shape[0], self.filters, *spatial) if first else (step_shape[0], *spatial, self.filters)

    def get_initial_state(self, batch_size: int) -> States:
        """States of zeros, for timesteps of the shape that the layer was built for."""
        if not self.built:
            raise NotBuiltError(f"{self.name}: the shape of the states is known once it is built")
        shape = self.state_shape((batch_size, *self.step_shape[1:]))
        weight = self.weight_ih
        return [torch.zeros(shape, dtype=weight.dtype, device=weight.device) for _ in range(2)]

    def check_use_cudnn(self, use_cudnn: bool | str, layer: str) -> None:
        if use_cudnn is True:
            raise ArgumentError(f"{layer}: use_cudnn must be False or 'auto': torch has no kernel of it, got True")

    def convolved(
        self, sequences: torch.Tensor, states: States, mask: torch.Tensor | None, zero_output: bool
    ) -> tuple[torch.Tensor, States]:
        """All timesteps: the inputs' convolutions at once, the states' one after the other."""
        last = self.data_format == "channels_last"
        x = sequences.movedim(-1, 2) if last else sequences
        if x.shape[2] != self.weight_ih.shape[1]:
            raise ShapeError(f"{self.name}: expected {self.weight_ih.shape[1]} input channels, got {x.shape[2]}")
        if self._drops(self.dropout):
            x = x * self._mask("inputs", x[:, 0], self.dropout).unsqueeze(1)
        batch, time = x.shape[:2]
        gates = self._convolve_inputs(x.flatten(0, 1)).unflatten(0, (batch, time))  # type: ignore[no-untyped-call]
        hidden, carry = (state.movedim(-1, 1) if last else state for state in states)
        output = torch.zeros_like(hidden)
        outputs = []
        for step in range(time):
            new_hidden, new_carry = self._gate(gates[:, step] + self._convolve_state(hidden), carry)
            if mask is None:
                output, hidden, carry = new_hidden, new_hidden, new_carry
            else:
                kept = mask[:, step].reshape(-1, *(1,) * (hidden.ndim - 1))
                output = torch.where(kept, new_hidden, torch.zeros_like(output) if zero_output else output)
                hidden, carry = torch.where(kept, new_hidden, hidden), torch.where(kept, new_carry, carry)
            outputs.append(output)
        states = [hidden, carry]
        stacked = torch.stack(outputs, 1)
        if last:
            return stacked.movedim(2, -1), [state.movedim(1, -1) for state in states]
        return stacked, states

    def _convolve_inputs(self, x: torch.Tensor) -> torch.Tensor:
        if self.padding == "same":
            x = pad_same(x, self.kernel_size, self.strides, self.dilation_rate)
        return CONVOLUTIONS[self.rank](x, self.weight_ih, self.gate_bias, self.strides, 0, self.dilation_rate)

    def _convolve_state(self, hidden: torch.Tensor) -> torch.Tensor:
        if self._drops(self.recurrent_dropout):
            hidden = hidden * self._mask("states", hidden, self.recurrent_dropout)
        ones = (1,) * self.rank
        return CONVOLUTIONS[self.rank](pad_same(hidden, self.kernel_size, ones, ones), self.weight_hh)

    def _gate(self, gates: torch.Tensor, carry: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        i, f, g, o = gates.chunk(4, dim=1)
        i, f, o = (self.recurrent_activation(gate) for gate in (i, f, o))
        carry = f * carry + i * self.activation(g)
        return o * self.activation(carry), carry


class _ConvLSTM(CellLayer):
    rank: ClassVar[int]
    cell: _ConvLSTMCell

    filters = OfCell("filters")
    kernel_size = OfCell("kernel_size")
    strides = OfCell("strides")
    padding = OfCell("padding")
    data_format = OfCell("data_format")
    dilation_rate = OfCell("dilation_rate")
    recurrent_activation = OfCell("recurrent_activation")
    unit_forget_bias = OfCell("unit_forget_bias")

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        **kwargs: Any,
    ) -> None:
        cell = self.cell_of(
            _ConvLSTMCell,
            kwargs,
            rank=self.rank,
            filters=filters,
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            unit_forget_bias=unit_forget_bias,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
        )
        super().__init__(
            cell,
            return_sequences,
            return_state,
            go_backwards,
            stateful,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        cell.check_use_cudnn(self.use_cudnn, self.name)

    def zero_states(self, sequences: torch.Tensor) -> States:
        self._check_rank(sequences)
        shape = self.cell.state_shape((sequences.shape[0], *sequences.shape[2:]))
        return [torch.zeros(shape, dtype=sequences.dtype, device=sequences.device) for _ in range(2)]

    def run(self, sequences: torch.Tensor, states: States, mask: torch.Tensor | None) -> tuple[torch.Tensor, States]:
        self._check_rank(sequences)
        cell = self.cell
        outputs, states = cell.in_compute_dtype(cell.convolved, sequences, states, mask, self.zero_output_for_mask)
        if cell.activity_regularizer is not None:
            self.pay_for(cell, list(outputs.unbind(1)))
        return outputs, states

    def _check_rank(self, sequences: torch.Tensor) -> None:
        if sequences.ndim != self.rank + 3:
            raise ShapeError(f"{self.name}: inputs must have rank {self.rank + 3}, got shape {tuple(sequences.shape)}")


@built_in("layer", module="keras.layers")
class ConvLSTM1D(_ConvLSTM):
    """An `LSTM` over sequences of signals (batch, time, steps, channels), or channels third for "channels_first".

    Products with the kernels are convolutions: `kernel` (size, channels, 4 filters) with `strides`, `padding` and
    `dilation_rate` over the inputs, `recurrent_kernel` (size, filters, 4 filters) with padding "same" over the state.
    Other parameters: those of `LSTM`, with `filters` for its `units`.

    Raises ArgumentError for bad or contradictory arguments, ShapeError for inputs of another rank or number of
    channels. Source: Keras 3.15.1; Shi et al., 2015.

    >>> ConvLSTM1D(2, 3, kernel_regularizer="l2")(torch.ones(1, 4, 7, 3)).shape
    torch.Size([1, 5, 2])
    """

    rank = 1


@built_in("layer", module="keras.layers")
class ConvLSTM2D(_ConvLSTM):
    """As `ConvLSTM1D`, over sequences of images (batch, time, rows, columns, channels). Source: Keras 3.15.1.

    >>> ConvLSTM2D(2, 3, padding="same", return_sequences=True)(torch.ones(1, 4, 5, 5, 3)).shape
    torch.Size([1, 4, 5, 5, 2])
    """

    rank = 2


@built_in("layer", module="keras.layers")
class ConvLSTM3D(_ConvLSTM):
    """As `ConvLSTM1D`, over sequences of volumes (batch, time, a, b, c, channels). Source: Keras 3.15.1.

    >>> ConvLSTM3D(2, 2)(torch.ones(1, 2, 3, 3, 3, 1)).shape
    torch.Size([1, 2, 2, 2, 2])
    """

    rank = 3
