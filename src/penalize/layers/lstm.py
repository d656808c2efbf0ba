"""LSTM: long short-term memory, and its cell."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from penalize import activations
from penalize.layers.cells import Cell, States
from penalize.layers.recurrent import CellLayer, OfCell
from penalize.registry import built_in

__all__ = ["LSTM", "LSTMCell"]


@built_in("layer", module="keras.layers")
class LSTMCell(Cell):
    """One timestep with input, forget and output gates i, f, o and a state c beside the output h.

    `i, f, o = recurrent_activation(x @ kernel + bias + h @ recurrent_kernel)`, each its columns; `g = activation(...)`
    of the columns between f and o; `c = f * c + i * g`; `h = o * activation(c)`. Columns are in the order i, f, g, o.

    `call(inputs, states)` returns the output and the new states. `activity_regularizer` of a cell inside a recurrent
    layer is paid once, for what the layer takes of its outputs, and never for states.

    Parameters: `units`; `activation` and `recurrent_activation`, by name or function; `use_bias`; initializers,
    regularizers and constraints of `kernel`, `recurrent_kernel` and `bias`; `unit_forget_bias`, True to begin with ones
    in the bias of f; `dropout` of the inputs and `recurrent_dropout` of the state, each with one random mask a
    sequence; `seed`; those of `Layer`. Raises ArgumentError for bad arguments, ShapeError for inputs of another size.
    Source: Keras 3.15.1; Hochreiter and Schmidhuber, 1997.

    >>> output, states = LSTMCell(3)(torch.ones(2, 4), [torch.zeros(2, 3), torch.zeros(2, 3)])
    >>> output.shape, len(states)
    (torch.Size([2, 3]), 2)
    """

    gates = 4

    def __init__(
        self,
        units: int,
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
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            activation,
            use_bias,
            (kernel_initializer, kernel_regularizer, kernel_constraint),
            (recurrent_initializer, recurrent_regularizer, recurrent_constraint),
            (bias_initializer, bias_regularizer, bias_constraint),
            dropout,
            recurrent_dropout,
            seed,
            **kwargs,
        )
        self.recurrent_activation = self.as_activation(recurrent_activation, "recurrent_activation")
        self.unit_forget_bias = bool(unit_forget_bias)

    @property
    def state_size(self) -> list[int]:
        return [self.units, self.units]

    def step(self, inputs: torch.Tensor, hidden: torch.Tensor, states: States) -> tuple[torch.Tensor, States]:
        gates = F.linear(inputs, self.weight_ih, self.gate_bias) + F.linear(hidden, self.weight_hh)
        i, f, g, o = gates.chunk(4, dim=-1)
        i, f, o = (self.recurrent_activation(gate) for gate in (i, f, o))
        carry = f * states[1] + i * self.activation(g)
        output = o * self.activation(carry)
        return output, [output, carry]

    @property
    def kernel_takes_options(self) -> bool:
        return self.activation is activations.tanh and self.recurrent_activation is activations.sigmoid

    def has_kernel(self) -> bool:
        # torch 2.13 cannot compile the backward pass of its CPU kernel (pytorch#158007); steps it can.
        compiling = torch.compiler.is_compiling() and not torch.compiler.is_exporting()
        return super().has_kernel() and not compiling

    def kernel_sequence(
        self, inputs: torch.Tensor, states: States, weights: list[torch.Tensor]
    ) -> tuple[torch.Tensor, States]:
        outputs, hidden, carry = torch.lstm(inputs, states, weights, self.use_bias, 1, 0.0, self.training, False, True)
        return outputs, [hidden[0], carry[0]]

    def draw_bias(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        if not self.unit_forget_bias:
            return super().draw_bias(shape, dtype)
        first = self.bias_initializer((self.units,), dtype=dtype)
        rest = self.bias_initializer((2 * self.units,), dtype=dtype)
        return torch.cat([first, torch.ones(self.units, dtype=dtype), rest])


@built_in("layer", module="keras.layers")
class LSTM(CellLayer):
    """`LSTMCell` over the timesteps of sequences (batch, time, in); in torch's kernel for the default activations.

    Parameters: those of `LSTMCell`; `activity_regularizer`, of the output once, not of the states; `return_sequences`,
    True for the outputs of all timesteps (batch, time, units) instead of the last one's; `return_state`, True for a
    tuple of the output and the last states; `go_backwards` reads the sequence from its end; `stateful` begins with the
    states that the last call ended with (`reset_state()` forgets them); `unroll` is accepted and changes nothing;
    `use_cudnn`, False to compute step by step, True to refuse arguments that torch's kernel cannot do (sequences with a
    mask are still computed step by step); those of `Layer`. `call(sequences, initial_state=None, mask=None)`: steps
    whose mask is False leave output and states as they were.

    A `state_dict` of `torch.nn.LSTM` loads. Raises ArgumentError for bad arguments, ShapeError for inputs of another
    rank or size. Source: Keras 3.15.1.

    >>> layer = LSTM(3, return_sequences=True, kernel_regularizer="l2")
    >>> layer(torch.ones(2, 5, 4)).shape, layer.cell.kernel.shape
    (torch.Size([2, 5, 3]), torch.Size([4, 12]))
    """

    recurrent_activation = OfCell("recurrent_activation")
    unit_forget_bias = OfCell("unit_forget_bias")

    def __init__(
        self,
        units: int,
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
        unroll: bool = False,
        use_cudnn: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        cell = self.cell_of(
            LSTMCell,
            kwargs,
            units=units,
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
            unroll,
            use_cudnn=use_cudnn,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        cell.check_use_cudnn(self.use_cudnn, self.name)
