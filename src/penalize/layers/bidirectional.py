"""Bidirectional: a recurrent layer that reads sequences from both ends."""

from __future__ import annotations

from typing import Any

import torch

from penalize.errors import ArgumentError
from penalize.layers.cloning import fresh_copy
from penalize.layers.layer import Layer
from penalize.layers.recurrent import RNN
from penalize.registry import built_in

__all__ = ["Bidirectional"]

MODES = ("concat", "sum", "mul", "ave", None)


@built_in("layer", module="keras.layers")
class Bidirectional(Layer):
    """`layer` and a copy that reads the sequence backwards; their outputs merged.

    The copy has weights and regularizer objects of its own, so that each penalty of `layer` is paid twice, once a
    direction; `activity_regularizer` of `layer` penalizes each direction's output, that of this layer the merged one.

    Parameters: `layer`, such as an `LSTM`; `merge_mode` "concat" (of the last axis), "sum", "mul", "ave" or None for a
    tuple of both; `weights`, to begin with; `backward_layer`, in place of the copy: with `go_backwards` the other way
    round, and the same `return_sequences`, `return_state` and `stateful`; those of `Layer`. `call(sequences,
    initial_state=None, mask=None)`: half of `initial_state` goes to each direction. With `return_state` the output is
    followed by the states of both.

    A `state_dict` of a bidirectional `torch.nn.RNN`, `LSTM` or `GRU` of one layer loads.

    Raises ArgumentError for bad arguments. Source: Keras 3.15.1.

    >>> import penalize
    >>> layer = Bidirectional(penalize.layers.LSTM(3, kernel_regularizer="l2"))
    >>> layer(torch.ones(2, 5, 4)).shape, len(layer.losses)
    (torch.Size([2, 6]), 2)
    """

    supports_masking = True
    left_out_arguments = ("weights",)

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(layer, RNN):
            raise ArgumentError(f"{self.name}: layer must be a recurrent layer such as LSTM(3), got {layer!r:.80}")
        if merge_mode not in MODES:
            raise ArgumentError(
                f"{self.name}: merge_mode must be one of {', '.join(map(repr, MODES))}, got {merge_mode!r}"
            )
        self.merge_mode = merge_mode
        self.forward_layer: RNN = layer
        own_name = layer.name.removeprefix("forward_")
        if backward_layer is None:
            backward_layer = fresh_copy(layer, go_backwards=not layer.go_backwards, name=f"backward_{own_name}")
        self.backward_layer = backward_layer
        self._check_directions()
        if layer.return_sequences:
            # Else each direction would fill padding with its last output, at other steps than the other one.
            layer.zero_output_for_mask = backward_layer.zero_output_for_mask = True
        layer._name = f"forward_{own_name}"
        self._first_weights = weights
        self.register_load_state_dict_pre_hook(_rename_torchs_weights)  # type: ignore[no-untyped-call]

    @property
    def layer(self) -> RNN:
        """The layer that reads from the beginning."""
        return self.forward_layer

    @property
    def return_sequences(self) -> bool:
        """Whether the outputs of all timesteps are returned."""
        return bool(self.forward_layer.return_sequences)

    @property
    def return_state(self) -> bool:
        """Whether the states of both directions follow the output."""
        return bool(self.forward_layer.return_state)

    def build(self, input_shape: Any) -> None:
        for layer in (self.forward_layer, self.backward_layer):
            if not layer.built:
                layer._device_of_new_weights = self._build_device
                layer.build(input_shape)
        if self._first_weights is not None:
            self.set_weights(self._first_weights)

    def call(self, sequences: torch.Tensor, initial_state: Any = None, mask: torch.Tensor | None = None) -> Any:
        forward_states = backward_states = None
        if initial_state is not None:
            half = len(initial_state) // 2
            forward_states, backward_states = initial_state[:half], initial_state[half:]
        ahead = self.forward_layer(sequences, initial_state=forward_states, mask=mask)
        back = self.backward_layer(sequences, initial_state=backward_states, mask=mask)
        states: tuple[torch.Tensor, ...] = ()
        if self.return_state:
            states = (*ahead[1:], *back[1:])
            ahead, back = ahead[0], back[0]
        if self.return_sequences:
            back = back.flip(1)
        merged = self._merged(ahead, back)
        return (*(merged if self.merge_mode is None else (merged,)), *states) if self.return_state else merged

    def penalized_output(self, output: Any) -> Any:
        if not self.return_state:
            return output
        return output[:2] if self.merge_mode is None else output[0]

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        mask = previous_mask if self.return_sequences else None
        if self.merge_mode is None:
            return [mask, mask]
        return [mask] if self.return_state else mask

    def reset_state(self) -> None:
        """Forget the states of `stateful` layers."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    reset_states = reset_state

    def _merged(self, ahead: torch.Tensor, back: torch.Tensor) -> Any:
        if self.merge_mode == "concat":
            return torch.cat([ahead, back], -1)
        if self.merge_mode == "sum":
            return ahead + back
        if self.merge_mode == "mul":
            return ahead * back
        return (ahead + back) / 2 if self.merge_mode == "ave" else (ahead, back)

    def _check_directions(self) -> None:
        ahead, back = self.forward_layer, self.backward_layer
        if not isinstance(back, RNN):
            raise ArgumentError(f"{self.name}: backward_layer must be a recurrent layer, got {back!r:.80}")
        if ahead.go_backwards == back.go_backwards:
            raise ArgumentError(
                f"{self.name}: one of layer and backward_layer must have go_backwards=True, not both or none"
            )
        for name in ("return_sequences", "return_state", "stateful"):
            if getattr(ahead, name) != getattr(back, name):
                raise ArgumentError(
                    f"{self.name}: layer and backward_layer must have the same {name}, got {getattr(ahead, name)} and "
                    f"{getattr(back, name)}"
                )


def _rename_torchs_weights(layer: Bidirectional, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Load hook: torch names the weights of the second direction `..._reverse`."""
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        for suffix, direction in (("", "forward_layer"), ("_reverse", "backward_layer")):
            if f"{prefix}{name}{suffix}" in state_dict:
                state_dict[f"{prefix}{direction}.{name}"] = state_dict.pop(f"{prefix}{name}{suffix}")
