"""ReversibleEmbedding: a table of vectors that also goes back, from vectors to one score an index."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from penalize.arguments import as_dtype, number
from penalize.errors import ShapeError
from penalize.layers.embedding import Embedding
from penalize.layers.inputs import as_floating
from penalize.layers.weights import LINEAR_LAYOUT, KerasView, RegularizerOf, Weight
from penalize.masks import set_masks
from penalize.registry import built_in

__all__ = ["ReversibleEmbedding"]


class _RegularizerOfBoth(RegularizerOf):
    """`embeddings_regularizer`, which is that of the reverse table, too."""

    def __set__(self, layer: Any, identifier: Any) -> None:
        super().__set__(layer, identifier)
        reverse = layer.declarations.weights.get("reverse_embeddings")
        if isinstance(reverse, Weight):
            reverse.regularizer = layer.own_weight(self.weight).regularizer


@built_in("layer", module="keras.layers")
class ReversibleEmbedding(Embedding):
    """`Embedding`; with `reverse=True` in the call, `inputs @ embeddings.T`: a score (logit) for each index.

    Shapes: integers (...) to (..., output_dim); in reverse (..., output_dim) to (..., input_dim). `state_dict` holds
    `weight` (input_dim, output_dim) and, untied, `reverse_weight` of the same shape, as `torch.nn.Linear` does;
    `reverse_embeddings` is Keras's view of it, (output_dim, input_dim).

    Parameters besides those of `Embedding`: `tie_weights`, False for a table of its own in reverse, which
    `embeddings_regularizer` penalizes as well (Keras leaves it out; `embeddings_constraint` is, as there, only of the
    first); `reverse_dtype`, the dtype that scores are computed in; `logit_soft_cap`, scores become
    `cap * tanh(scores / cap)`.

    Raises ArgumentError for bad arguments, ShapeError for reverse inputs of another size. Source: Keras 3.15.1; Press &
    Wolf, 2017.

    >>> layer = ReversibleEmbedding(7, 3, embeddings_regularizer="l2")
    >>> layer(layer(torch.tensor([[0, 6]])), reverse=True).shape, len(layer.losses)
    (torch.Size([1, 2, 7]), 1)
    """

    embeddings_regularizer = _RegularizerOfBoth("embeddings")
    reverse_embeddings = KerasView("reverse_embeddings")
    reverse_weight: torch.Tensor

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        tie_weights: bool = True,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        reverse_dtype: Any = None,
        logit_soft_cap: float | None = None,
        **kwargs: Any,
    ) -> None:
        table = (embeddings_initializer, embeddings_regularizer, embeddings_constraint)
        super().__init__(input_dim, output_dim, *table, mask_zero, **kwargs)
        self.tie_weights = bool(tie_weights)
        self.reverse_dtype = None if reverse_dtype is None else as_dtype(reverse_dtype, self.name)
        cap = logit_soft_cap
        self.logit_soft_cap = None if cap is None else number("logit_soft_cap", cap, 0.0, above=True, where=self.name)
        if not self.tie_weights:
            reverse = (embeddings_initializer, self.embeddings_regularizer)
            self.declare_weight("reverse_embeddings", *reverse, attribute="reverse_weight", layout=LINEAR_LAYOUT)
            self._build_reverse()

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self._build_reverse()

    def call(self, inputs: torch.Tensor, reverse: bool = False) -> torch.Tensor:
        if not reverse:
            vectors = super().call(inputs)
            set_masks(vectors, inputs != 0 if self.mask_zero else None)
            return vectors
        if inputs.ndim == 0 or inputs.shape[-1] != self.output_dim:
            raise ShapeError(
                f"{self.name}: the last axis of reverse inputs must be {self.output_dim}, got {tuple(inputs.shape)}"
            )
        table = self.weight if self.tie_weights else self.reverse_weight
        inputs = as_floating(inputs, table.dtype)
        if self.reverse_dtype is not None:
            inputs, table = inputs.to(self.reverse_dtype), table.to(self.reverse_dtype)
        scores = F.linear(inputs, table)
        cap = self.logit_soft_cap
        return scores if cap is None else torch.tanh(scores / cap) * cap

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        """None: `call` sets the mask of vectors, and scores have none."""

    def _build_reverse(self) -> None:
        # `Embedding` builds its own table before this one is declared.
        if "reverse_embeddings" in self.declarations.weights:
            self.build_weight("reverse_embeddings", (self.output_dim, self.input_dim))
