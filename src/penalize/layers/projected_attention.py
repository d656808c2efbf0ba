"""`ProjectedAttention`: attention between linear projections of a query, a key and a value; each projection pays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from penalize import constraints, initializers, regularizers
from penalize.arguments import integer, number
from penalize.errors import ArgumentError, ShapeError, naming
from penalize.layers.attention_core import (
    attended_axes,
    band,
    combined,
    fused_attention,
    kernels,
    plain_attention,
)
from penalize.layers.einsum_dense import EinsumDense
from penalize.layers.inputs import differ
from penalize.layers.seeded import Seeded
from penalize.layers.symbolic import is_symbolic
from penalize.masks import set_masks

__all__ = ["ProjectedAttention"]

PROJECTIONS = ("query_dense", "key_dense", "gate_dense", "value_dense", "output_dense")
INPUTS = ("query", "value", "key")

# The letters of equations: small ones for the axes that are left alone.
LEFT_ALONE = "abcdefghijklmnopqrstuvwxyz"
OUTPUT = "OPQRSTUVWXYZ"


class OfAllProjections:
    """An attribute that all projections have in common: setting it, also after building, sets it in each."""

    def __init__(self, get: Callable[[Any], Any]) -> None:
        self.get = get

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, layer: ProjectedAttention | None, owner: type) -> Any:
        return self if layer is None else layer.__dict__[f"_{self.name}"]

    def __set__(self, layer: ProjectedAttention, identifier: Any) -> None:
        weight = self.name.removesuffix("_regularizer")
        with naming(f"{layer.name}: {self.name}"):
            value = self.get(identifier)
            if weight in ("kernel", "bias"):
                # In all before it is set in one.
                for projection in layer.projections:
                    projection.check_regularizer(projection.own_weight(weight), value)
        layer.__dict__[f"_{self.name}"] = value
        for projection in layer.projections:
            setattr(projection, self.name, value)


class ProjectedAttention(Seeded):
    """What `MultiHeadAttention` and `GroupQueryAttention` share; a subclass builds the projections with `project`.

    The layer has no weights and no penalties of its own: all are those of its projections.
    """

    supports_masking = True

    kernel_initializer = OfAllProjections(initializers.get)
    bias_initializer = OfAllProjections(initializers.get)
    kernel_regularizer = OfAllProjections(regularizers.get)
    bias_regularizer = OfAllProjections(regularizers.get)
    activity_regularizer = OfAllProjections(regularizers.get)
    kernel_constraint = OfAllProjections(constraints.get)
    bias_constraint = OfAllProjections(constraints.get)

    query_dense: EinsumDense
    key_dense: EinsumDense
    value_dense: EinsumDense
    gate_dense: EinsumDense
    output_dense: EinsumDense
    attention_axes: tuple[int, ...] | None = None

    def __init__(
        self,
        kernel: tuple[Any, Any, Any],
        bias: tuple[Any, Any, Any],
        dropout: float,
        use_bias: bool,
        sliding_window: int | None,
        flash_attention: bool | None,
        use_gate: bool,
        seed: int | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, **kwargs)
        self.kernel_initializer, self.kernel_regularizer, self.kernel_constraint = kernel
        self.bias_initializer, self.bias_regularizer, self.bias_constraint = bias
        self.dropout = number("dropout", dropout, 0.0, 1.0, where=self.name)
        self.use_bias = bool(use_bias)
        self.use_gate = bool(use_gate)
        window = sliding_window
        self.sliding_window = None if window is None else integer("sliding_window", window, self.name)
        self.flash_attention = None if flash_attention is None else bool(flash_attention)
        if self.flash_attention and self.dropout > 0:
            raise ArgumentError(f"{self.name}: flash_attention knows no dropout; dropout must be 0, got {dropout}")

    @property
    def projections(self) -> list[EinsumDense]:
        """The layers that hold the weights, in the order of these; none before the layer is built."""
        found = [self._modules.get(name) for name in PROJECTIONS]
        return [module for module in found if isinstance(module, EinsumDense)]

    def build(self, query_shape: Any, value_shape: Any = None, key_shape: Any = None) -> None:
        """Create the projections for inputs of these shapes, batch axis included; the key's is by default the value's.

        Raises ShapeError for shapes that do not fit each other.
        """
        if query_shape and not isinstance(query_shape[0], int | None):
            query_shape, value_shape, key_shape = query_shape
        if query_shape is None or value_shape is None:
            raise ArgumentError(f"{self.name}: it takes a query and a value, got {query_shape} and {value_shape}")
        key_shape = value_shape if key_shape is None else key_shape
        self._attended = attended_axes(self.attention_axes, len(query_shape), self.name)
        self._check_shapes(query_shape, value_shape, key_shape)
        self.build_projections(tuple(query_shape), tuple(value_shape), tuple(key_shape))

    def build_projections(self, query: Sequence[Any], value: Sequence[Any], key: Sequence[Any]) -> None:
        """Make the projections in the order of `PROJECTIONS`, for inputs of these shapes."""
        raise NotImplementedError

    def project(
        self, name: str, shape: Sequence[Any], sizes: Sequence[int], summed: int = 1, activation: str | None = None
    ) -> EinsumDense:
        """A built projection of the last `summed` axes of inputs of a shape to axes of these sizes."""
        alone = LEFT_ALONE[: len(shape) - summed]
        inputs, output = "MN"[:summed], OUTPUT[: len(sizes)]
        projection = EinsumDense(
            f"{alone}{inputs},{inputs}{output}->{alone}{output}",
            output_shape=(*(None,) * (len(alone) - 1), *sizes),
            activation=activation,
            bias_axes=output if self.use_bias else None,
            kernel_initializer=self.kernel_initializer,
            bias_initializer=self.bias_initializer,
            kernel_regularizer=self.kernel_regularizer,
            bias_regularizer=self.bias_regularizer,
            kernel_constraint=self.kernel_constraint,
            bias_constraint=self.bias_constraint,
            activity_regularizer=self.activity_regularizer,
            mask_activity=self.mask_activity,
            trainable=self.trainable,
            dtype=self.dtype_policy,
            autocast=self.autocast,
            name=f"{self.name}.{name}",
        )
        # The axes that a mask is of are left alone.
        projection.supports_masking = True
        projection._device_of_new_weights = self._build_device
        projection.build(tuple(shape))
        return projection

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if not self.built and not is_symbolic(args, kwargs):
            given = {**dict(zip(INPUTS, args, strict=False)), **kwargs}
            self._build_for([given.get(name) for name in INPUTS])
        return super().forward(*args, **kwargs)

    def call(
        self,
        query: torch.Tensor,
        value: torch.Tensor,
        key: torch.Tensor | None = None,
        query_mask: torch.Tensor | None = None,
        value_mask: torch.Tensor | None = None,
        key_mask: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        key = value if key is None else key
        axes = self._attended
        self._check_shapes(query.shape, value.shape, key.shape)
        if self.flash_attention and return_attention_scores:
            raise ArgumentError(f"{self.name}: flash_attention gives no scores: return_attention_scores must be False")
        masks = []
        if query_mask is not None:
            masks.append(axes.own_mask(query_mask, query, "query_mask").unsqueeze(-1))
        if value_mask is not None:
            masks.append(axes.own_mask(value_mask, value, "value_mask").unsqueeze(-2))
        if key_mask is not None:
            masks.append(axes.own_mask(key_mask, key, "key_mask").unsqueeze(-2))
        if attention_mask is not None:
            masks.append(axes.given_mask(attention_mask, query, value))
        # In the order of their weights, in which `losses` lists them.
        heads = [axes.heads_first(self.query_dense(query)), axes.heads_first(self.key_dense(key))]
        gate = self.gate_dense(query) if self.use_gate else None
        heads.append(axes.heads_first(self.value_dense(value)))
        attended, scores = self._attend(heads, masks, use_causal_mask, return_attention_scores)
        attended = axes.heads_last(attended, query)
        if gate is not None:
            attended = attended * gate
        set_masks(attended, query_mask)
        output = self.output_dense(attended)
        return (output, axes.split_scores(scores, query, value)) if scores is not None else output

    def penalized_output(self, output: Any) -> Any:
        return output[0] if isinstance(output, tuple) else output

    def _attend(
        self, heads: list[torch.Tensor], masks: list[torch.Tensor], causal: bool, with_scores: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        query, key, value = heads
        banded = causal or self.sliding_window is not None
        if banded and len(self._attended.axes) > 1:
            raise ArgumentError(
                f"{self.name}: use_causal_mask and sliding_window need attention over one axis, got the axes "
                f"{self._attended.axes}: choose one by attention_axes"
            )
        drops = self.training and self.dropout > 0
        plain = with_scores or (drops and (self.seed is not None or self.dropout == 1))
        # torch's kernels know the causal mask by themselves, where it is the only one.
        causal_alone = causal and not plain and not masks and self.sliding_window is None
        if banded and not causal_alone:
            masks = [*masks, band(query, value, causal, self.sliding_window)]
        mask = combined(masks)
        if plain:
            attended, scores = plain_attention(query, key, value, mask, self._drop if drops else None)
            return attended, scores if with_scores else None
        # As Keras: its kernel gives the mean; its other way, which it goes with dropout or more axes, gives zeros.
        mean_of_nothing = self.dropout == 0 and query.ndim == 4
        rate = self.dropout if drops else 0.0
        with kernels(self.flash_attention):
            return fused_attention(query, key, value, mask, causal_alone, rate, mean_of_nothing), None

    def _drop(self, scores: torch.Tensor) -> torch.Tensor:
        if self.seed is None:
            return F.dropout(scores, self.dropout)
        return scores * self.dropout_mask(scores.shape, self.dropout, scores)

    def _check_shapes(self, query: Sequence[Any], value: Sequence[Any], key: Sequence[Any]) -> None:
        if tuple(value[1:-1]) != tuple(key[1:-1]):
            raise ShapeError(
                f"{self.name}: value and key must have the same axes between the batch and the features, got shapes "
                f"{tuple(value)} and {tuple(key)}"
            )
        rank = self._attended.rank
        same_rank = len(query) == len(value) == len(key) == rank
        if not same_rank or any(
            differ((query[axis], value[axis], key[axis]), (1, None)) for axis in self._attended.others
        ):
            raise ShapeError(
                f"{self.name}: query, value and key must have rank {rank} and the same axes {self._attended.others}, "
                f"got shapes {tuple(query)}, {tuple(value)} and {tuple(key)}"
            )
