"""RNN: a cell called once a timestep; and what SimpleRNN, LSTM and GRU share, which own their cell."""

from __future__ import annotations

from typing import Any

import torch

from penalize.errors import ArgumentError, ShapeError
from penalize.layers.cells import Cell, States
from penalize.layers.layer import Layer
from penalize.layers.naming import unique_name
from penalize.layers.stacked_cells import StackedRNNCells
from penalize.layers.symbolic import in_trial
from penalize.placement import next_position, record_activity
from penalize.registry import built_in

__all__ = ["RNN", "CellLayer", "OfCell"]


@built_in("layer", module="keras.layers")
class RNN(Layer):
    """Calls `cell(inputs, states)` for each timestep of sequences (batch, time, ...), handing the states on.

    `cell` is a `SimpleRNNCell`, `LSTMCell`, `GRUCell`, one of your own (a `Layer` with `state_size` whose
    `call(inputs, states)` returns the output and the new states), or a list of cells, one on top of the other.

    Parameters: `return_sequences`, True for the outputs of all timesteps (batch, time, units) instead of the last
    one's; `return_state`, True for a tuple of the output and the last states; `go_backwards` reads the sequence from
    its end; `stateful` begins with the states that the last call ended with (`reset_state()` forgets them); `unroll` is
    accepted and changes nothing; `zero_output_for_mask`, True for outputs of 0 at masked steps; those of `Layer`.
    `call(sequences, initial_state=None, mask=None)`: steps whose mask is False leave output and states as they were.

    `activity_regularizer` penalizes the output once, not the states; that of a cell is paid once, too, for what this
    layer takes of its outputs. Raises ArgumentError for bad arguments, ShapeError for inputs of another rank.
    Source: Keras 3.15.1.

    >>> import penalize
    >>> cells = [penalize.layers.LSTMCell(3), penalize.layers.GRUCell(2, kernel_regularizer="l2")]
    >>> RNN(cells, return_sequences=True)(torch.ones(2, 5, 4)).shape
    torch.Size([2, 5, 2])
    """

    supports_masking = True
    further_arguments = ("zero_output_for_mask",)

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(cell, list | tuple):
            cell = StackedRNNCells(cell)
        if not isinstance(cell, Layer) or not hasattr(cell, "state_size"):
            raise ArgumentError(
                f"{self.name}: cell must be a Layer with a state_size and call(inputs, states), got {cell!r:.80}"
            )
        self.cell = cell
        self.return_sequences = bool(return_sequences)
        self.return_state = bool(return_state)
        self.go_backwards = bool(go_backwards)
        self.stateful = bool(stateful)
        self.unroll = bool(unroll)
        self.zero_output_for_mask = bool(zero_output_for_mask)
        self.states: list[Any] | None = None

    def build(self, input_shape: Any) -> None:
        if len(input_shape) < 3:
            raise ShapeError(f"{self.name}: inputs must be (batch, time, ...), got shape {tuple(input_shape)}")
        if not self.cell.built:
            self.cell._device_of_new_weights = self._build_device
            self.cell.build((input_shape[0], *input_shape[2:]))

    def call(self, sequences: torch.Tensor, initial_state: Any = None, mask: torch.Tensor | None = None) -> Any:
        if sequences.ndim < 3 or sequences.shape[1] == 0:
            raise ShapeError(
                f"{self.name}: inputs must be (batch, time, ...) with one timestep at least, got shape "
                f"{tuple(sequences.shape)}"
            )
        if mask is not None:
            mask = mask.squeeze(-1).bool() if mask.ndim == 3 and mask.shape[-1] == 1 else mask.bool()
        if mask is not None and mask.shape != sequences.shape[:2]:
            raise ShapeError(
                f"{self.name}: mask must be (batch, time), {tuple(sequences.shape[:2])}, got shape {tuple(mask.shape)}"
            )
        states = self._first_states(sequences, initial_state)
        if self.go_backwards:
            sequences, mask = sequences.flip(1), None if mask is None else mask.flip(1)
        for cell in self._cells:
            if isinstance(cell, Cell):
                cell.begin_sequence()
        try:
            outputs, states = self.run(sequences, states, mask)
        finally:
            for cell in self._cells:
                if isinstance(cell, Cell):
                    cell.end_sequence()
        if self.stateful and not in_trial():
            self.states = _mapped(states, torch.Tensor.detach)
        output = outputs if self.return_sequences else outputs[:, -1]
        return (output, *states) if self.return_state else output

    def run(self, sequences: torch.Tensor, states: list[Any], mask: torch.Tensor | None) -> tuple[torch.Tensor, Any]:
        """The outputs of all timesteps (batch, time, ...), and the last states."""
        penalized = [cell for cell in self._cells if cell.declarations.paying()]
        for cell in penalized:
            cell.declarations.collected = []
        try:
            outputs, states = self._run_steps(sequences, states, mask)
            for cell in penalized:
                steps = cell.declarations.collected
                cell.declarations.collected = None
                self.pay_for(cell, [step[0] for step in steps or ()])
        finally:
            for cell in penalized:
                cell.declarations.collected = None
        return outputs, states

    def input_dtype(self) -> torch.dtype | None:
        own = self._cells[0].input_dtype()
        return super().input_dtype() if own is None else own

    def penalized_output(self, output: Any) -> Any:
        return output[0] if self.return_state else output

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        mask = previous_mask if self.return_sequences else None
        return [mask] if self.return_state else mask

    def zero_states(self, sequences: torch.Tensor) -> list[Any]:
        """The states that these sequences begin with when none are given."""
        return self.get_initial_state(sequences.shape[0])

    def get_initial_state(self, batch_size: int) -> list[Any]:
        """The states that a sequence begins with when none are given: zeros."""
        if hasattr(self.cell, "get_initial_state"):
            return _as_list(self.cell.get_initial_state(batch_size))
        like = next(self.cell.parameters(), torch.empty(0, dtype=self.compute_dtype))
        return [
            torch.zeros(batch_size, *_as_list(size), dtype=like.dtype, device=like.device)
            for size in _as_list(self.cell.state_size)
        ]

    def reset_state(self) -> None:
        """Forget the states of a `stateful` layer: the next call begins with zeros."""
        self.states = None

    reset_states = reset_state

    @property
    def _cells(self) -> list[Layer]:
        return self.cell.layers if isinstance(self.cell, StackedRNNCells) else [self.cell]

    def _first_states(self, sequences: torch.Tensor, given: Any) -> list[Any]:
        if given is None and self.stateful and self.states is not None and not in_trial():
            batch = next(iter(_tensors(self.states))).shape[0]
            if batch != sequences.shape[0]:
                raise ShapeError(
                    f"{self.name}: stateful layers keep the batch size, {batch}, got {sequences.shape[0]}; "
                    "reset_state() begins anew"
                )
            given = self.states
            if not torch.compiler.is_compiling():
                # Those of `predict` and of validation, in inference mode, cannot stand in a graph as they are.
                given = _mapped(given, lambda state: state.clone() if state.is_inference() else state)
        if given is None:
            given = self.zero_states(sequences)
        states = _as_list(given)
        count = len(_as_list(self.cell.state_size))
        if len(states) != count:
            raise ArgumentError(f"{self.name}: initial_state must have {count} states, got {len(states)}")
        cast: list[Any] = _mapped(states, lambda state: state.to(sequences.dtype))
        return cast

    def _run_steps(
        self, sequences: torch.Tensor, states: list[Any], mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, list[Any]]:
        outputs: list[torch.Tensor] = []
        for time in range(sequences.shape[1]):
            output, new_states = self.cell(sequences[:, time], states)
            new_states = _as_list(new_states)
            if mask is not None:
                kept = mask[:, time]
                before = outputs[-1] if outputs and not self.zero_output_for_mask else torch.zeros_like(output)
                output = _where(kept, output, before)
                new_states = _both(kept, new_states, states)
            states = new_states
            outputs.append(output)
        return torch.stack(outputs, 1), states

    def pay_for(self, cell: Layer, steps: list[torch.Tensor]) -> None:
        """One entry for a cell's activity: all its outputs, or the last, as this layer returns them."""
        paid = torch.stack(steps, 1) if self.return_sequences else steps[-1]
        position = next_position()
        for declaration, record in cell.declarations.paying():
            record_activity(record, declaration, paid, cell.name, position)


class OfCell:
    """An attribute of a recurrent layer that is its cell's."""

    def __init__(self, attribute: str) -> None:
        self.attribute = attribute

    def __get__(self, layer: RNN | None, owner: type) -> Any:
        return self if layer is None else getattr(layer.cell, self.attribute)

    def __set__(self, layer: RNN, value: Any) -> None:
        setattr(layer.cell, self.attribute, value)


class CellLayer(RNN):
    """An `RNN` that makes its cell by itself, and runs all timesteps in torch's kernel where there is one."""

    units = OfCell("units")
    activation = OfCell("activation")
    use_bias = OfCell("use_bias")
    kernel_initializer = OfCell("kernel_initializer")
    recurrent_initializer = OfCell("recurrent_initializer")
    bias_initializer = OfCell("bias_initializer")
    kernel_regularizer = OfCell("kernel_regularizer")
    recurrent_regularizer = OfCell("recurrent_regularizer")
    bias_regularizer = OfCell("bias_regularizer")
    kernel_constraint = OfCell("kernel_constraint")
    recurrent_constraint = OfCell("recurrent_constraint")
    bias_constraint = OfCell("bias_constraint")
    dropout = OfCell("dropout")
    recurrent_dropout = OfCell("recurrent_dropout")
    seed = OfCell("seed")
    cell: Cell

    def __init__(self, cell: Cell, *sequence: bool, use_cudnn: bool | str = "auto", **kwargs: Any) -> None:
        super().__init__(cell, *sequence, **kwargs)
        if use_cudnn not in (True, False, "auto"):
            raise ArgumentError(f"{self.name}: use_cudnn must be True, False or 'auto', got {use_cudnn!r:.80}")
        self.use_cudnn = use_cudnn
        if use_cudnn is True and not cell.kernel_takes_options:
            raise ArgumentError(f"{self.name}: torch has no kernel for these activations, as use_cudnn=True asks for")
        self.register_load_state_dict_pre_hook(_rename_torchs_weights)  # type: ignore[no-untyped-call]

    @classmethod
    def cell_of(cls, kind: type[Cell], kwargs: dict[str, Any], **arguments: Any) -> Any:
        """A cell with the dtype and trainability that the layer is given, and its name, which errors show."""
        if kwargs.get("name") is None:
            kwargs["name"] = unique_name(cls.__name__)
        own = {key: kwargs[key] for key in ("dtype", "trainable") if key in kwargs}
        return kind(**arguments, **own, name=f"{kwargs['name']}.cell")

    def run(self, sequences: torch.Tensor, states: States, mask: torch.Tensor | None) -> tuple[torch.Tensor, States]:
        cell = self.cell
        if mask is not None or self.use_cudnn is False or not cell.has_kernel():
            return super().run(sequences, states, mask)
        try:
            outputs, states = cell.in_compute_dtype(cell.sequence, sequences, states)
        except RuntimeError as error:
            # Inside `torch.func.vmap` torch 2.13 has steps only.
            if "Batching rule" not in str(error):
                raise
            return super().run(sequences, states, mask)
        if cell.declarations.paying():
            self.pay_for(cell, list(outputs.unbind(1)))
        return outputs, states


def _rename_torchs_weights(layer: CellLayer, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Load hook: the names of `torch.nn.RNN`, `LSTM` and `GRU` are those of the cell here."""
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        if f"{prefix}{name}_l0" in state_dict:
            state_dict[f"{prefix}cell.{name}"] = state_dict.pop(f"{prefix}{name}_l0")


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _tensors(states: Any) -> list[torch.Tensor]:
    return [states] if isinstance(states, torch.Tensor) else [tensor for state in states for tensor in _tensors(state)]


def _mapped(states: Any, function: Any) -> Any:
    if isinstance(states, torch.Tensor):
        return function(states)
    return [_mapped(state, function) for state in states]


def _where(kept: torch.Tensor, new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    return torch.where(kept.reshape(-1, *(1,) * (new.ndim - 1)), new, old)


def _both(kept: torch.Tensor, new: Any, old: Any) -> Any:
    """New states where the step is kept, old ones elsewhere."""
    if isinstance(new, torch.Tensor):
        return _where(kept, new, old)
    return [_both(kept, item, before) for item, before in zip(new, old, strict=True)]
