"""GroupQueryAttention: attention whose heads share keys and values in groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from penalize.arguments import integer
from penalize.errors import ArgumentError, ShapeError
from penalize.layers.projected_attention import ProjectedAttention
from penalize.registry import built_in

__all__ = ["GroupQueryAttention"]


@built_in("layer", module="keras.layers", names=["GroupedQueryAttention"])
class GroupQueryAttention(ProjectedAttention):
    """`MultiHeadAttention` in which `num_query_heads / num_key_value_heads` heads share one head of keys and values.

    Shapes: query (batch, T, features), value and key (batch, S, ...), output as the query. Weights, each (kernel,
    bias), in Keras's layout: `query_dense` (features, query heads, head_dim), with `use_gate` `gate_dense` of the same
    shape, `key_dense` and `value_dense` (features, key-value heads, head_dim), `output_dense` (query heads, head_dim,
    features). Arguments, masks and penalties are as of `MultiHeadAttention`.

    Raises ArgumentError for bad arguments, ShapeError for inputs and masks that do not fit. Source: Keras 3.15.1, which
    counts the penalty of the output twice; here each projection counts once. Ainslie et al., 2023.

    >>> import torch
    >>> layer = GroupQueryAttention(4, num_query_heads=4, num_key_value_heads=2, activity_regularizer="l1")
    >>> x = torch.ones(2, 5, 8)
    >>> layer(x, x).shape, len(layer.losses)
    (torch.Size([2, 5, 8]), 4)
    """

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
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
        self.head_dim = integer("head_dim", head_dim, self.name)
        self.num_query_heads = integer("num_query_heads", num_query_heads, self.name)
        self.num_key_value_heads = integer("num_key_value_heads", num_key_value_heads, self.name)
        if self.num_query_heads % self.num_key_value_heads:
            raise ArgumentError(
                f"{self.name}: num_query_heads must be a multiple of num_key_value_heads, got {num_query_heads} and "
                f"{num_key_value_heads}"
            )

    def parts_in_files(self) -> Iterator[tuple[str, Any]]:
        # Keras holds them under names of its own.
        for name, part in super().parts_in_files():
            yield f"_{name}", part

    def build_projections(self, query: Sequence[Any], value: Sequence[Any], key: Sequence[Any]) -> None:
        if len(query) != 3:
            raise ShapeError(f"{self.name}: the query must have rank 3 (batch, time, features), got shape {query}")
        queries, groups = (self.num_query_heads, self.head_dim), (self.num_key_value_heads, self.head_dim)
        self.query_dense = self.project("query", query, queries)
        self.key_dense = self.project("key", key, groups)
        if self.use_gate:
            self.gate_dense = self.project("gate", query, queries, activation="sigmoid")
        self.value_dense = self.project("value", value, groups)
        self.output_dense = self.project("attention_output", (*query[:-1], *queries), (query[-1],), summed=2)
