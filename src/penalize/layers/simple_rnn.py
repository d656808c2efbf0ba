"""SimpleRNN: a recurrent layer without gates, and its cell."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from penalize import activations
from penalize.layers.cells import Cell, States
from penalize.layers.recurrent import CellLayer
from penalize.registry import built_in

__all__ = ["SimpleRNN", "SimpleRNNCell"]


@built_in("layer", module="keras.layers")
class SimpleRNNCell(Cell):
    """`h = activation(x @ kernel + bias + h @ recurrent_kernel)`: one timestep; x (batch, in), h (batch, units).

    `call(inputs, states)` returns the output and the new states. `activity_regularizer` of a cell inside a recurrent
    layer is paid once, for what the layer takes of its outputs, and never for states.

    Parameters: `units`; `activation`, by name or function; `use_bias`; initializers, regularizers and constraints of
    `kernel`, `recurrent_kernel` and `bias`; `dropout` of the inputs and `recurrent_dropout` of the state, each with one
    random mask a sequence; `seed`; those of `Layer`. Raises ArgumentError for bad arguments, ShapeError for inputs of
    another size. Source: Keras 3.15.1.

    >>> output, states = SimpleRNNCell(3)(torch.ones(2, 4), [torch.zeros(2, 3)])
    >>> output.shape, len(states)
    (torch.Size([2, 3]), 1)
    """

    gates = 1

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
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

    def step(self, inputs: torch.Tensor, hidden: torch.Tensor, states: States) -> tuple[torch.Tensor, States]:
        output = self.activation(F.linear(inputs, self.weight_ih, self.gate_bias) + F.linear(hidden, self.weight_hh))
        return output, [output]

    @property
    def kernel_takes_options(self) -> bool:
        return self.activation in (activations.tanh, activations.relu)

    def kernel_sequence(
        self, inputs: torch.Tensor, states: States, weights: list[torch.Tensor]
    ) -> tuple[torch.Tensor, States]:
        kernel = torch.rnn_tanh if self.activation is activations.tanh else torch.rnn_relu
        outputs, last = kernel(inputs, states[0], weights, self.use_bias, 1, 0.0, self.training, False, True)
        return outputs, [last[0]]


@built_in("layer", module="keras.layers")
class SimpleRNN(CellLayer):
    """`SimpleRNNCell` over the timesteps of sequences (batch, time, in); in torch's kernel for tanh and relu.

    Parameters: those of `SimpleRNNCell`; `activity_regularizer`, of the output once, not of the states;
    `return_sequences`, True for the outputs of all timesteps (batch, time, units) instead of the last one's;
    `return_state`, True for a tuple of the output and the last states; `go_backwards` reads the sequence from its end;
    `stateful` begins with the states that the last call ended with (`reset_state()` forgets them); `unroll` is accepted
    and changes nothing; those of `Layer`. `call(sequences, initial_state=None, mask=None)`: steps whose mask is False
    leave output and states as they were.

    A `state_dict` of `torch.nn.RNN` loads. Raises ArgumentError for bad arguments, ShapeError for inputs of another
    rank or size. Source: Keras 3.15.1.

    >>> SimpleRNN(3, recurrent_regularizer="orthogonal_regularizer")(torch.ones(2, 5, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        cell = self.cell_of(
            SimpleRNNCell,
            kwargs,
            units=units,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
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
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        cell.check_use_cudnn(self.use_cudnn, self.name)
