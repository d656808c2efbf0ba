"""How a layer describes its weights once, for building, penalties, reading and writing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from penalize.errors import NotBuiltError, naming
from penalize.placement import Layout, WeightDeclaration

if TYPE_CHECKING:
    from penalize.layers.layer import Layer

__all__ = ["CONV_LAYOUTS", "LINEAR_LAYOUT", "DepthwiseLayout", "KerasView", "RegularizerOf", "Weight"]

LINEAR_LAYOUT = Layout((1, 0))
"""torch (out, in), Keras (in, out)."""

CONV_LAYOUTS = {rank: Layout((*range(2, rank + 2), 1, 0)) for rank in (1, 2, 3)}
"""torch (out, in, k...), Keras (k..., in, out), by the number of spatial axes."""


@dataclass(frozen=True)
class DepthwiseLayout(Layout):
    """torch (in * multiplier, 1, k...), Keras (k..., in, multiplier)."""

    multiplier: int = 1

    def to_keras(self, tensor: torch.Tensor) -> torch.Tensor:
        parts = torch.unflatten(tensor.squeeze(1), 0, (-1, self.multiplier))
        return parts.permute(*range(2, parts.ndim), 0, 1)

    def to_torch(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.permute(-2, -1, *range(tensor.ndim - 2)).flatten(0, 1).unsqueeze(1)


class Weight(WeightDeclaration):
    """A weight of a layer: Keras's name for it, the attribute that holds it in torch's layout, and how it begins.

    A `buffer` is not trained at all: the layer itself changes it.
    """

    def __init__(
        self,
        name: str,
        attribute: str,
        initializer: Callable[..., torch.Tensor],
        regularizer: Any,
        layout: Layout,
        trainable: bool,
        buffer: bool = False,
    ) -> None:
        super().__init__(attribute, regularizer, layout)
        self.name = name
        self.initializer = initializer
        self.trainable = trainable
        self.buffer = buffer


class RegularizerOf:
    """The attribute `<name>_regularizer` of a layer: setting it, also after building, takes effect at once."""

    def __init__(self, weight: str) -> None:
        self.weight = weight

    def __get__(self, layer: Layer | None, owner: type) -> Any:
        return self if layer is None else layer.declarations.weights[self.weight].regularizer

    def __set__(self, layer: Layer, identifier: Any) -> None:
        with naming(f"{layer.name}: {self.weight}_regularizer"):
            layer.declarations.weights[self.weight].regularizer = identifier


class KerasView:
    """A weight in Keras's layout, as a view of the parameter that torch's kernels take: `layer.kernel`."""

    def __init__(self, weight: str) -> None:
        self.weight = weight

    def __get__(self, layer: Layer | None, owner: type) -> Any:
        if layer is None:
            return self
        declaration = layer.declarations.weights[self.weight]
        tensor = getattr(layer, declaration.attribute, None)
        if tensor is None:
            raise NotBuiltError(f"{layer.name} has no {self.weight} yet: call it once, or build(input_shape)")
        return declaration.layout.to_keras(tensor)
