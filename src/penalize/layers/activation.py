"""Activation functions as layers."""

from __future__ import annotations

from typing import Any

import torch

from penalize import activations
from penalize.arguments import integer, number
from penalize.errors import ShapeError
from penalize.layers.activated import activated
from penalize.layers.layer import Layer
from penalize.layers.weights import ConstraintOf, InitializerOf, RegularizerOf
from penalize.logits import keep_logits
from penalize.masks import mask_of
from penalize.registry import built_in

__all__ = ["ELU", "Activation", "LeakyReLU", "PReLU", "ReLU", "Softmax"]


@built_in("layer", module="keras.layers")
class Activation(Layer):
    """An activation function, by name or as a function, as a layer. Source: Keras 3.15.1.

    Raises UnknownNameError for an unknown name, offering the nearest.

    >>> import torch
    >>> Activation("relu", activity_regularizer="l1")(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    supports_masking = True

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = self.as_activation(activation)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return activated(self.activation, inputs)


@built_in("layer", module="keras.layers")
class ReLU(Layer):
    """`max(x, 0)`, at most `max_value`; below `threshold` the slope is `negative_slope`. Source: Keras 3.15.1.

    Raises ArgumentError for negative or non-finite arguments.

    >>> ReLU(max_value=1.0)(torch.tensor([-1.0, 0.5, 2.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """

    supports_masking = True

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.max_value = None if max_value is None else number("max_value", max_value, 0.0, where=self.name)
        self.negative_slope = number("negative_slope", negative_slope, 0.0, where=self.name)
        self.threshold = number("threshold", threshold, 0.0, where=self.name)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)


@built_in("layer", module="keras.layers")
class LeakyReLU(Layer):
    """`x` above 0, `negative_slope * x` below. Source: Keras 3.15.1, whose default slope is 0.3.

    >>> LeakyReLU()(torch.tensor([-1.0, 2.0]))
    tensor([-0.3000,  2.0000])
    """

    supports_masking = True

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.negative_slope = number("negative_slope", negative_slope, 0.0, where=self.name)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return activations.leaky_relu(inputs, self.negative_slope)


@built_in("layer", module="keras.layers")
class ELU(Layer):
    """`x` above 0, `alpha * (exp(x) - 1)` below. Source: Keras 3.15.1.

    >>> ELU()(torch.tensor([0.0, 2.0]))
    tensor([0., 2.])
    """

    supports_masking = True

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = number("alpha", alpha, where=self.name)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return activations.elu(inputs, self.alpha)


@built_in("layer", module="keras.layers")
class Softmax(Layer):
    """`exp(x)` divided by its sum along `axis`, or along several axes together; 0 where `mask` is False.

    `mask` is an argument of the call, of a shape that broadcasts to the inputs'; one that the inputs carry has their
    first axes. Raises ShapeError for other masks. Source: Keras 3.15.1.

    >>> Softmax()(torch.zeros(1, 2))
    tensor([[0.5000, 0.5000]])
    """

    supports_masking = True

    def __init__(self, axis: int | tuple[int, ...] = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = tuple(axis) if isinstance(axis, list | tuple) else axis

    def call(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        if mask is None:
            return self._softmax(inputs)
        if mask is mask_of(inputs):
            mask = mask.reshape(*mask.shape, *(1,) * (inputs.ndim - mask.ndim))
        sizes = zip(reversed(mask.shape), reversed(inputs.shape), strict=False)
        if mask.ndim > inputs.ndim or any(own not in (1, size) for own, size in sizes):
            raise ShapeError(
                f"{self.name}: mask must broadcast to the inputs, got shapes {tuple(mask.shape)} and "
                f"{tuple(inputs.shape)}"
            )
        # The lowest number keeps rows finite that are masked as a whole.
        lowest = torch.finfo(inputs.dtype).min
        return self._softmax(inputs.masked_fill(~mask.bool(), lowest)).masked_fill(~mask.bool(), 0)

    def _softmax(self, inputs: torch.Tensor) -> torch.Tensor:
        if isinstance(self.axis, tuple) and len(self.axis) > 1:
            return torch.exp(inputs - torch.logsumexp(inputs, self.axis, keepdim=True))
        axis = self.axis[0] if isinstance(self.axis, tuple) else self.axis
        return keep_logits(activations.softmax(inputs, axis), inputs, axis)


@built_in("layer", module="keras.layers")
class PReLU(Layer):
    """`x` above 0, `alpha * x` below, with one learned `alpha` an input element.

    `alpha` has the shape of one input; along `shared_axes` (counted with the batch axis) one is shared, so that for
    images `shared_axes=[1, 2]` leaves one a channel. Regularized by `alpha_regularizer`.

    Raises ArgumentError for bad axes, ShapeError when called with another shape than it was built for.
    Source: Keras 3.15.1; He et al., 2015.

    >>> layer = PReLU(alpha_initializer="ones", alpha_regularizer="l1", shared_axes=[1])
    >>> layer(torch.tensor([[[-2.0, 3.0]]])), [loss.item() for loss in layer.losses]
    (tensor([[[-2.,  3.]]], grad_fn=<WhereBackward0>), [0.019999999552965164])
    """

    supports_masking = True

    alpha_initializer = InitializerOf("alpha")
    alpha_regularizer = RegularizerOf("alpha")
    alpha_constraint = ConstraintOf("alpha")
    alpha: torch.Tensor

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: int | list[int] | tuple[int, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        axes = () if shared_axes is None else (shared_axes,) if isinstance(shared_axes, int) else shared_axes
        self.shared_axes = tuple(integer("shared_axes", axis, self.name) for axis in axes)
        self.declare_weight("alpha", alpha_initializer, alpha_regularizer, alpha_constraint)

    def build(self, input_shape: Any) -> None:
        if self.shared_axes and max(self.shared_axes) >= len(input_shape):
            raise ShapeError(f"{self.name}: shared_axes {self.shared_axes} do not fit inputs of shape {input_shape}")
        sizes = [1 if axis in self.shared_axes else size for axis, size in enumerate(input_shape)]
        self.build_weight("alpha", sizes[1:])

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        if inputs.ndim != self.alpha.ndim + 1:
            raise ShapeError(
                f"{self.name}: inputs must have rank {self.alpha.ndim + 1}, got shape {tuple(inputs.shape)}"
            )
        sizes = zip(inputs.shape[1:], self.alpha.shape, strict=True)
        if any(size != own and axis not in self.shared_axes for axis, (size, own) in enumerate(sizes, start=1)):
            raise ShapeError(
                f"{self.name}: inputs must have the shape {tuple(self.alpha.shape)} but for shared_axes "
                f"{self.shared_axes} and the batch, got {tuple(inputs.shape)}"
            )
        return torch.where(inputs > 0, inputs, self.alpha * inputs)
