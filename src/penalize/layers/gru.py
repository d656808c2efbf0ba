"""GRU: gated recurrent unit, and its cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from penalize import activations
from penalize.layers.cells import Cell, States
from penalize.layers.recurrent import CellLayer, OfCell
from penalize.placement import Layout
from penalize.registry import built_in

__all__ = ["GRU", "GRUCell"]


def _swapped(tensor: torch.Tensor, axis: int) -> torch.Tensor:
    """The first two of three blocks along an axis change places."""
    first, second, third = tensor.chunk(3, dim=axis)
    return torch.cat([second, first, third], dim=axis)


@dataclass(frozen=True)
class _KernelLayout(Layout):
    """torch (gates r, z, n; in), Keras (in; gates z, r, n)."""

    def to_keras(self, tensor: torch.Tensor) -> torch.Tensor:
        return _swapped(tensor, 0).T

    def to_torch(self, tensor: torch.Tensor) -> torch.Tensor:
        return _swapped(tensor.T, 0)


@dataclass(frozen=True)
class _BiasLayout(Layout):
    """torch (..., gates r, z, n), Keras (..., gates z, r, n)."""

    def to_keras(self, tensor: torch.Tensor) -> torch.Tensor:
        return _swapped(tensor, -1)

    def to_torch(self, tensor: torch.Tensor) -> torch.Tensor:
        return _swapped(tensor, -1)


@built_in("layer", module="keras.layers")
class GRUCell(Cell):
    """One timestep with an update gate z and a reset gate r, each `recurrent_activation` of its columns.

    `h = z * h + (1 - z) * n`, where n is `activation(x @ K + b + r * (h @ U + b2))` with `reset_after` (default, as
    torch's and cuDNN's; `bias` then has two rows, b and b2), and `activation(x @ K + b + (r * h) @ U)` without. Columns
    of kernels and bias are in the order z, r, n.

    `call(inputs, states)` returns the output and the new states. `activity_regularizer` of a cell inside a recurrent
    layer is paid once, for what the layer takes of its outputs, and never for states.

    Parameters: `units`; `activation` and `recurrent_activation`, by name or function; `use_bias`; initializers,
    regularizers and constraints of `kernel`, `recurrent_kernel` and `bias`; `reset_after`; `dropout` of the inputs and
    `recurrent_dropout` of the state, each with one random mask a sequence; `seed`; those of `Layer`. Raises
    ArgumentError for bad arguments, ShapeError for inputs of another size. Source: Keras 3.15.1; Cho et al., 2014.

    >>> cell = GRUCell(3)
    >>> output, states = cell(torch.ones(2, 4), [torch.zeros(2, 3)])
    >>> output.shape, cell.bias.shape
    (torch.Size([2, 3]), torch.Size([2, 9]))
    """

    gates = 3
    weight_layout = _KernelLayout()
    bias_layout = _BiasLayout()

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
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
        reset_after: bool = True,
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
        self.reset_after = bool(reset_after)

    @property
    def bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def step(self, inputs: torch.Tensor, hidden: torch.Tensor, states: States) -> tuple[torch.Tensor, States]:
        bias = self.gate_bias
        first, second = (bias, None) if bias is None or bias.ndim == 1 else bias.unbind()
        x_r, x_z, x_n = F.linear(inputs, self.weight_ih, first).chunk(3, dim=-1)
        if self.reset_after:
            h_r, h_z, h_n = F.linear(hidden, self.weight_hh, second).chunk(3, dim=-1)
            r, z = self.recurrent_activation(x_r + h_r), self.recurrent_activation(x_z + h_z)
            n = self.activation(x_n + r * h_n)
        else:
            gates, last = self.weight_hh[: 2 * self.units], self.weight_hh[2 * self.units :]
            h_r, h_z = F.linear(hidden, gates).chunk(2, dim=-1)
            r, z = self.recurrent_activation(x_r + h_r), self.recurrent_activation(x_z + h_z)
            n = self.activation(x_n + F.linear(r * hidden, last))
        output = z * states[0] + (1 - z) * n
        return output, [output]

    @property
    def kernel_takes_options(self) -> bool:
        usual = self.activation is activations.tanh and self.recurrent_activation is activations.sigmoid
        return usual and self.reset_after

    def kernel_sequence(
        self, inputs: torch.Tensor, states: States, weights: list[torch.Tensor]
    ) -> tuple[torch.Tensor, States]:
        outputs, last = torch.gru(inputs, states[0], weights, self.use_bias, 1, 0.0, self.training, False, True)
        return outputs, [last[0]]


@built_in("layer", module="keras.layers")
class GRU(CellLayer):
    """`GRUCell` over the timesteps of sequences (batch, time, in).

    In torch's kernel for the default activations and `reset_after=True`.

    Parameters: those of `GRUCell`; `activity_regularizer`, of the output once, not of the states; `return_sequences`,
    True for the outputs of all timesteps (batch, time, units) instead of the last one's; `return_state`, True for a
    tuple of the output and the last states; `go_backwards` reads the sequence from its end; `stateful` begins with the
    states that the last call ended with (`reset_state()` forgets them); `unroll` is accepted and changes nothing;
    `use_cudnn`, False to compute step by step, True to refuse arguments that torch's kernel cannot do (sequences with a
    mask are still computed step by step); those of `Layer`. `call(sequences, initial_state=None, mask=None)`: steps
    whose mask is False leave output and states as they were.

    A `state_dict` of `torch.nn.GRU` loads where `reset_after`. Raises ArgumentError for bad arguments, ShapeError for
    inputs of another rank or size. Source: Keras 3.15.1.

    >>> GRU(3, bias_regularizer="l1")(torch.ones(2, 5, 4)).shape
    torch.Size([2, 3])
    """

    recurrent_activation = OfCell("recurrent_activation")
    reset_after = OfCell("reset_after")

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
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
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        cell = self.cell_of(
            GRUCell,
            kwargs,
            units=units,
            activation=activation,
            recurrent_activation=recurrent_activation,
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
            reset_after=reset_after,
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
