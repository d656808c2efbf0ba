"""MultiHeadAttention: attention in several subspaces at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penalize.arguments import integer
from penalize.errors import ArgumentError
from penalize.layers.projected_attention import ProjectedAttention
from penalize.registry import built_in

__all__ = ["MultiHeadAttention"]


@built_in("layer", module="keras.layers")
class MultiHeadAttention(ProjectedAttention):
    """For each head `softmax(q @ k.T / sqrt(key_dim)) @ v`, q, k, v projections of query, key and value; all projected.

    Shapes: query (batch, T, features), value and key (batch, S, ...), more axes in between; key is by default the
    value. The output is of the query's shape, or ends with `output_shape`. Weights, each (kernel, bias), in Keras's
    layout: `query_dense` and `key_dense` (features, heads, key_dim), with `use_gate` `gate_dense`, `value_dense`
    (features, heads, value_dim), `output_dense` (heads, value_dim, features). A `state_dict` of
    `torch.nn.MultiheadAttention` loads into a built layer whose heads make up the features.

    `kernel_regularizer`, `bias_regularizer` and `activity_regularizer` penalize each projection: 8 weights and 4
    outputs, 10 and 5 with a gate; the layer's own output is that of the last. These, initializers and constraints can
    be set later, for all projections at once.

    Parameters: `num_heads`, `key_dim`; `value_dim`, by default key_dim; `dropout` of scores in training, drawn with
    `seed`; `use_bias`; `output_shape`; `attention_axes`, by default all between batch and features; `sliding_window`,
    only positions fewer than so many steps away are attended to; `flash_attention`, True for only, False for never
    torch's kernel of that name; `use_gate`, heads are multiplied with `sigmoid` of a projection of the query; the
    usual ones of kernels and biases, and those of `Layer`.

    Call arguments besides: `query_mask`, `value_mask`, `key_mask` (batch, positions), by default those that the inputs
    carry, and `attention_mask` (batch, T, S), True where a query may attend; `use_causal_mask`, only to positions not
    after its own; `return_attention_scores`, also gives (batch, heads, T, S). A query that may attend to nothing gets
    the mean of all values; with dropout, scores or more axes zeros.

    Raises ArgumentError for bad arguments, ShapeError for inputs and masks that do not fit. Source: Keras 3.15.1, which
    ignores a `query_mask` that is given as an argument; Vaswani et al., 2017.

    >>> import torch
    >>> layer = MultiHeadAttention(2, 4, kernel_regularizer="l2", activity_regularizer="l1")
    >>> x = torch.ones(2, 5, 8)
    >>> layer(x, x, use_causal_mask=True).shape, len(layer.losses)
    (torch.Size([2, 5, 8]), 8)
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | Sequence[int] | None = None,
        attention_axes: int | Sequence[int] | None = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            kernel=(kernel_initializer, kernel_regularizer, kernel_constraint),
            bias=(bias_initializer, bias_regularizer, bias_constraint),
            dropout=dropout,
            use_bias=use_bias,
            sliding_window=sliding_window,
            flash_attention=flash_attention,
            use_gate=use_gate,
            seed=seed,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.num_heads = integer("num_heads", num_heads, self.name)
        self.key_dim = integer("key_dim", key_dim, self.name)
        self.value_dim = self.key_dim if value_dim is None else integer("value_dim", value_dim, self.name)
        sizes = (output_shape,) if isinstance(output_shape, int) else tuple(output_shape or ())
        self.output_shape = tuple(integer("output_shape", size, self.name) for size in sizes) or None
        self.attention_axes = self._as_axes(attention_axes)
        self.register_load_state_dict_pre_hook(_split_torchs_weights)  # type: ignore[no-untyped-call]

    def build_projections(self, query: Sequence[Any], value: Sequence[Any], key: Sequence[Any]) -> None:
        keys, values = (self.num_heads, self.key_dim), (self.num_heads, self.value_dim)
        self.query_dense = self.project("query", query, keys)
        self.key_dense = self.project("key", key, keys)
        if self.use_gate:
            self.gate_dense = self.project("gate", query, values, activation="sigmoid")
        self.value_dense = self.project("value", value, values)
        output = self.output_shape or (query[-1],)
        self.output_dense = self.project("attention_output", (*query[:-1], *values), output, summed=2)

    def _as_axes(self, axes: Any) -> tuple[int, ...] | None:
        given = (axes,) if isinstance(axes, int) else axes
        if given is None:
            return None
        if not isinstance(given, list | tuple) or not all(type(axis) is int for axis in given):
            raise ArgumentError(f"{self.name}: attention_axes must be None, an integer or integers, got {axes!r:.80}")
        return tuple(given)


def _split_torchs_weights(layer: MultiHeadAttention, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
    """Load hook: the weights of `torch.nn.MultiheadAttention` as those of the projections."""
    names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    if not layer.built or not any(f"{prefix}{name}" in state_dict for name in ("in_proj_weight", *names)):
        return
    heads, size = layer.num_heads, layer.key_dim
    weight, bias = (state_dict.pop(f"{prefix}in_proj_{kind}", None) for kind in ("weight", "bias"))
    kernels = [state_dict.pop(f"{prefix}{name}") for name in names] if weight is None else weight.chunk(3)
    output, output_bias = (state_dict.pop(f"{prefix}out_proj.{kind}", None) for kind in ("weight", "bias"))
    if output is None or {len(kernel) for kernel in kernels} != {heads * size} or layer.value_dim != size:
        rest[-1].append(
            f"{layer.name}: weights of torch.nn.MultiheadAttention need features of size num_heads * key_dim = "
            f"{heads * size} and value_dim = key_dim, got {[tuple(kernel.shape) for kernel in kernels]}"
        )
        return
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    for name, kernel, part in zip(("query", "key", "value"), kernels, biases, strict=True):
        # torch's (heads * size, features) as Keras's (features, heads, size).
        state_dict[f"{prefix}{name}_dense.kernel_weight"] = kernel.T.reshape(-1, heads, size)
        if part is not None:
            state_dict[f"{prefix}{name}_dense.bias"] = part.reshape(heads, size)
    state_dict[f"{prefix}output_dense.kernel_weight"] = output.T.reshape(heads, size, -1)
    if output_bias is not None:
        state_dict[f"{prefix}output_dense.bias"] = output_bias
