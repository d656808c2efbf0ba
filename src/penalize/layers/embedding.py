"""Embedding: a table of vectors, looked up by integers."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from penalize.arguments import integer
from penalize.layers.layer import Layer
from penalize.layers.weight_attributes import WithEmbeddings
from penalize.registry import built_in

__all__ = ["Embedding"]


@built_in("layer", module="keras.layers")
class Embedding(WithEmbeddings, Layer):
    """The rows of `embeddings` (input_dim, output_dim) that integers name; inputs of any shape gain a last axis.

    `embeddings_regularizer` penalizes the whole table at each step. `state_dict` holds `weight`, as
    `torch.nn.Embedding` does.

    Parameters: `input_dim`, the number of rows; `output_dim`; `embeddings_initializer` "uniform"; `mask_zero`, True
    when index 0 is padding that layers behind it leave out; `weights`, a table to begin with; those of `Layer`. Raises
    ArgumentError for bad arguments, ShapeError for a table of another shape. Source: Keras 3.15.1.

    >>> Embedding(5, 2, embeddings_regularizer="l2")(torch.tensor([[0, 4, 1]])).shape
    torch.Size([1, 3, 2])
    """

    left_out_arguments = ("weights",)
    weight: torch.Tensor

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_dim = integer("input_dim", input_dim, self.name)
        self.output_dim = integer("output_dim", output_dim, self.name)
        table = (embeddings_initializer, embeddings_regularizer, embeddings_constraint)
        self.declare_weight("embeddings", *table, attribute="weight")
        self.mask_zero = bool(mask_zero)
        self.supports_masking = self.mask_zero
        self.build(None)
        if weights is not None:
            self.set_weights(weights if isinstance(weights, list) else [weights])

    def build(self, input_shape: Any) -> None:
        self.build_weight("embeddings", (self.input_dim, self.output_dim))

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return F.embedding(inputs.long(), self.weight)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """With `mask_zero`, the index 0 stands for padding."""
        return torch.as_tensor(inputs, device=self.weight.device) != 0 if self.mask_zero else None
