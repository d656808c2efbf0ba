"""`Cell`: what the cells of SimpleRNN, LSTM and GRU share; a cell is one timestep of a recurrent layer."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from penalize.arguments import integer, number
from penalize.errors import ArgumentError, ShapeError
from penalize.layers.layer import Layer
from penalize.layers.seeded import Seeded
from penalize.layers.weight_attributes import WithKernel, WithRecurrentKernel
from penalize.layers.weights import LINEAR_LAYOUT, ConstraintOf, InitializerOf, KerasView, RegularizerOf
from penalize.placement import Layout

__all__ = ["Cell", "States", "refuse_mask_activity"]

States = list[torch.Tensor]


def refuse_mask_activity(cell: Layer) -> None:
    """ArgumentError for a cell with `mask_activity=True`, which could have no effect: masks are of whole sequences."""
    if cell.mask_activity:
        raise ArgumentError(
            f"{cell.name}: mask_activity must be False for a cell, which never sees masks, got True; give it to the "
            "recurrent layer, with the activity_regularizer"
        )


class Cell(WithKernel, WithRecurrentKernel, Seeded):
    """What the cells share: `kernel` (in, gates * units), `recurrent_kernel` (units, gates * units), and a bias.

    In torch's layout the weights are `weight_ih`, `weight_hh` (as `torch.nn.LSTMCell` has them) and `gate_bias`. A
    `state_dict` of torch's cell loads: its two biases, which only their sum counts of, become one.
    """

    gates: ClassVar[int]
    weight_layout: Layout = LINEAR_LAYOUT
    bias_layout: Layout = Layout()

    bias = KerasView("bias")
    bias_initializer = InitializerOf("bias")
    bias_regularizer = RegularizerOf("bias")
    bias_constraint = ConstraintOf("bias")
    weight_ih: torch.Tensor
    weight_hh: torch.Tensor
    gate_bias: torch.Tensor | None

    def __init__(
        self,
        units: int,
        activation: Any,
        use_bias: bool,
        kernel: tuple[Any, Any, Any],
        recurrent: tuple[Any, Any, Any],
        bias: tuple[Any, Any, Any],
        dropout: float,
        recurrent_dropout: float,
        seed: int | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, **kwargs)
        refuse_mask_activity(self)
        self.units = integer("units", units, self.name)
        self.activation = self.as_activation(activation)
        self.use_bias = bool(use_bias)
        self.dropout = number("dropout", dropout, 0.0, 1.0, where=self.name)
        self.recurrent_dropout = number("recurrent_dropout", recurrent_dropout, 0.0, 1.0, where=self.name)
        self.declare_weight("kernel", *kernel, attribute="weight_ih", layout=self.weight_layout)
        self.declare_weight("recurrent_kernel", *recurrent, attribute="weight_hh", layout=self.weight_layout)
        self.declare_weight("bias", *bias, attribute="gate_bias", layout=self.bias_layout)
        self._masks: dict[str, torch.Tensor] | None = None
        self.register_load_state_dict_pre_hook(_join_biases)  # type: ignore[no-untyped-call]

    @property
    def state_size(self) -> int | list[int]:
        """The size of the state, or of each state."""
        return self.units

    @property
    def output_size(self) -> int:
        """The size of the output."""
        return self.units

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """The shape of Keras's bias."""
        return (self.gates * self.units,)

    def build(self, input_shape: Any) -> None:
        if len(input_shape) != 2:
            raise ShapeError(f"{self.name}: one timestep must have rank 2, got shape {tuple(input_shape)}")
        self.build_weight("kernel", (input_shape[-1], self.gates * self.units))
        self.build_weight("recurrent_kernel", (self.units, self.gates * self.units))
        if self.use_bias:
            self.build_weight("bias", self.bias_shape, draw=self.draw_bias)

    def draw_bias(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """The first bias."""
        bias: torch.Tensor = self.bias_initializer(shape, dtype=dtype)
        return bias

    def call(self, inputs: torch.Tensor, states: Any) -> tuple[torch.Tensor, States]:
        given = list(states) if isinstance(states, list | tuple) else [states]
        count = len(self.state_size) if isinstance(self.state_size, list) else 1
        if len(given) != count:
            raise ArgumentError(f"{self.name}: expected {count} states, got {len(given)}")
        if inputs.shape[-1] != self.weight_ih.shape[1]:
            raise ShapeError(
                f"{self.name}: the last axis of the inputs must be {self.weight_ih.shape[1]}, got {tuple(inputs.shape)}"
            )
        inputs = inputs * self._mask("inputs", inputs, self.dropout) if self._drops(self.dropout) else inputs
        hidden = given[0]
        if self._drops(self.recurrent_dropout):
            hidden = hidden * self._mask("states", hidden, self.recurrent_dropout)
        return self.step(inputs, hidden, given)

    def step(self, inputs: torch.Tensor, hidden: torch.Tensor, states: States) -> tuple[torch.Tensor, States]:
        """One timestep; `hidden` is the first of the states after dropout."""
        raise NotImplementedError

    @property
    def kernel_takes_options(self) -> bool:
        """Whether torch has one kernel for the whole sequence with these activations."""
        raise NotImplementedError

    def check_use_cudnn(self, use_cudnn: bool | str, layer: str) -> None:
        """ArgumentError where a layer insists on the kernel (True) with dropout of the states, which it cannot do."""
        if use_cudnn is True and self.recurrent_dropout > 0:
            raise ArgumentError(
                f"{layer}: use_cudnn=True asks for torch's kernel, which knows no recurrent_dropout; it must be 0, got "
                f"recurrent_dropout={self.recurrent_dropout:g}"
            )

    def has_kernel(self) -> bool:
        """Whether the kernel can be used now: it knows no dropout of the states."""
        return self.kernel_takes_options and not self._drops(self.recurrent_dropout)

    def sequence(self, inputs: torch.Tensor, states: States) -> tuple[torch.Tensor, States]:
        """All timesteps of (batch, time, in) in torch's kernel: the outputs of all, and the last states."""
        if inputs.shape[-1] != self.weight_ih.shape[1]:
            raise ShapeError(
                f"{self.name}: the last axis of the inputs must be {self.weight_ih.shape[1]}, got {tuple(inputs.shape)}"
            )
        if self._drops(self.dropout):
            inputs = inputs * self._mask("inputs", inputs[:, 0], self.dropout).unsqueeze(1)
        return self.kernel_sequence(inputs, [state.unsqueeze(0) for state in states], self._kernel_weights())

    def kernel_sequence(
        self, inputs: torch.Tensor, states: States, weights: list[torch.Tensor]
    ) -> tuple[torch.Tensor, States]:
        """The call of torch's kernel; `states` have its axis of layers in front."""
        raise NotImplementedError

    def begin_sequence(self) -> None:
        """From now on all calls share the random masks of dropout, until `end_sequence`."""
        self._masks = {}

    def end_sequence(self) -> None:
        """Each call draws its own masks again."""
        self._masks = None

    def get_initial_state(self, batch_size: int) -> States:
        """States of zeros."""
        sizes = self.state_size if isinstance(self.state_size, list) else [self.state_size]
        weight = self.weight_ih
        return [torch.zeros(batch_size, size, dtype=weight.dtype, device=weight.device) for size in sizes]

    def _kernel_weights(self) -> list[torch.Tensor]:
        """torch's kernels take two biases; Keras's one is the first, and the second is 0."""
        if self.gate_bias is None:
            return [self.weight_ih, self.weight_hh]
        bias = self.gate_bias
        both = list(bias) if bias.ndim == 2 else [bias, torch.zeros_like(bias)]
        return [self.weight_ih, self.weight_hh, *both]

    def _drops(self, rate: float) -> bool:
        return self.training and rate > 0

    def _mask(self, of: str, like: torch.Tensor, rate: float) -> torch.Tensor:
        if self._masks is None:
            return self.dropout_mask(like.shape, rate, like)
        if of not in self._masks:
            self._masks[of] = self.dropout_mask(like.shape, rate, like)
        return self._masks[of]


def _join_biases(cell: Cell, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Load hook: torch's `bias_ih` and `bias_hh` as the bias of this cell."""
    names = (f"{prefix}bias_ih", f"{prefix}bias_hh")
    if all(name in state_dict for name in names):
        first, second = (state_dict.pop(name) for name in names)
        joined = first + second if len(cell.bias_shape) == 1 else torch.stack([first, second])
        state_dict[f"{prefix}gate_bias"] = joined
