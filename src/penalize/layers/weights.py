"""How a layer describes its weights once, for building, penalties, reading and writing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from penalize import constraints, initializers, regularizers
from penalize.errors import NotBuiltError, naming
from penalize.placement import Layout, WeightDeclaration

if TYPE_CHECKING:
    from penalize.layers.weighted import Weighted

__all__ = [
    "CONV_LAYOUTS",
    "LINEAR_LAYOUT",
    "ConstraintOf",
    "DepthwiseLayout",
    "InitializerOf",
    "KerasView",
    "RegularizerOf",
    "Weight",
]

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

    A `constraint` is a function that projects the weight after each step of training. A `buffer` is not trained at all:
    the layer itself changes it.
    """

    def __init__(
        self,
        name: str,
        attribute: str,
        initializer: Callable[..., torch.Tensor],
        regularizer: Any,
        constraint: Any,
        layout: Layout,
        trainable: bool,
        buffer: bool = False,
    ) -> None:
        super().__init__(attribute, regularizer, layout)
        self.name = name
        self.initializer = initializer
        self.constraint = constraint
        self.trainable = trainable
        self.buffer = buffer

    @property
    def argument(self) -> str:
        """What Keras's keywords call the weight: `recurrent_regularizer` is that of `recurrent_kernel`."""
        return self.name.removesuffix("_kernel")


class InitializerOf:
    """The attribute `<name>_initializer` of a layer; setting it counts for weights that are created later."""

    def __init__(self, weight: str) -> None:
        self.weight = weight

    def __get__(self, layer: Weighted | None, owner: type) -> Any:
        return self if layer is None else layer.own_weight(self.weight).initializer

    def __set__(self, layer: Weighted, identifier: Any) -> None:
        weight = layer.own_weight(self.weight)
        with naming(f"{layer.name}: {weight.argument}_initializer"):
            weight.initializer = initializers.get(identifier)


class RegularizerOf:
    """The attribute `<name>_regularizer` of a layer: setting it, also after building, takes effect at once."""

    def __init__(self, weight: str) -> None:
        self.weight = weight

    def __get__(self, layer: Weighted | None, owner: type) -> Any:
        return self if layer is None else layer.own_weight(self.weight).regularizer

    def __set__(self, layer: Weighted, identifier: Any) -> None:
        weight = layer.own_weight(self.weight)
        with naming(f"{layer.name}: {weight.argument}_regularizer"):
            regularizer = regularizers.get(identifier)
        layer.check_regularizer(weight, regularizer)
        weight.regularizer = regularizer


class ConstraintOf:
    """The attribute `<name>_constraint` of a layer: setting it, also after building, takes effect at once."""

    def __init__(self, weight: str) -> None:
        self.weight = weight

    def __get__(self, layer: Weighted | None, owner: type) -> Any:
        return self if layer is None else layer.own_weight(self.weight).constraint

    def __set__(self, layer: Weighted, identifier: Any) -> None:
        weight = layer.own_weight(self.weight)
        with naming(f"{layer.name}: {weight.argument}_constraint"):
            weight.constraint = constraints.get(identifier)


class KerasView:
    """A weight in Keras's layout, made from the parameter that torch's kernels take: `layer.kernel`."""

    def __init__(self, weight: str) -> None:
        self.weight = weight

    def __get__(self, layer: Weighted | None, owner: type) -> Any:
        if layer is None:
            return self
        declaration = layer.own_weight(self.weight)
        tensor = getattr(layer, declaration.attribute, None)
        if tensor is None:
            raise NotBuiltError(f"{layer.name} has no {self.weight} yet: call it once, or build(input_shape)")
        return declaration.layout.to_keras(tensor)
