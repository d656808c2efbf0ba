"""Batch, layer and group normalization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from penalize.arguments import integer, number
from penalize.errors import ArgumentError, ShapeError
from penalize.layers.inputs import widened
from penalize.layers.layer import Layer
from penalize.layers.weight_attributes import WithGammaAndBeta
from penalize.layers.weights import InitializerOf, KerasView
from penalize.registry import built_in

__all__ = ["BatchNormalization", "GroupNormalization", "LayerNormalization"]


class _Normalization(WithGammaAndBeta, Layer):
    """What the normalizations share: `gamma` scales and `beta` shifts, held as torch's `weight` and `bias`."""

    supports_masking = True
    weight: torch.Tensor | None
    bias: torch.Tensor | None

    def __init__(
        self,
        epsilon: float,
        center: bool,
        scale: bool,
        beta: tuple[Any, Any, Any],
        gamma: tuple[Any, Any, Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.epsilon = number("epsilon", epsilon, 0.0, where=self.name)
        self.center = bool(center)
        self.scale = bool(scale)
        self.declare_weight("gamma", *gamma, attribute="weight")
        self.declare_weight("beta", *beta, attribute="bias")

    @property
    def scale_and_shift(self) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """The values of gamma and beta, in float32 at least; None where they are not used."""
        weight, bias = self.weight, self.bias
        return (None if weight is None else widened(weight)), (None if bias is None else widened(bias))

    def build_scale_and_shift(self, shape: Sequence[int]) -> None:
        """Create gamma and beta as far as they are used."""
        if self.scale:
            self.build_weight("gamma", shape)
        if self.center:
            self.build_weight("beta", shape)

    def axis_in(self, axis: int, shape: Sequence[int]) -> int:
        """An axis counted from 0; the batch axis and those outside of the shape are refused."""
        found = axis + len(shape) if axis < 0 else axis
        if not 0 < found < len(shape):
            raise ShapeError(f"{self.name}: axis {axis} must be one of inputs of shape {tuple(shape)} past the first")
        return found


@built_in("layer", module="keras.layers")
class BatchNormalization(_Normalization):
    """`gamma * (x - mean) / sqrt(variance + epsilon) + beta`, over all axes but `axis`.

    In training mean and variance are the batch's, and move the statistics that are used otherwise: `moving = moving *
    momentum + batch * (1 - momentum)`, with the biased variance of the batch. A frozen layer uses the moving ones. An
    empty batch moves nothing. Entries that a `mask` marks as padding count for neither. Half precision is computed in
    float32. `state_dict` holds `weight`, `bias`, `running_mean`, `running_var` and `num_batches_tracked`, as
    `torch.nn.BatchNorm1d` does; note torch's other defaults (epsilon 1e-5, momentum 0.1 of the new, unbiased variance).

    Parameters: `axis` -1; `momentum` 0.99; `epsilon` 1e-3; `center`, `scale`; initializers; `beta_regularizer`,
    `gamma_regularizer`; those of `Layer`. Raises ArgumentError for bad arguments, ShapeError for inputs of another
    size. Source: Keras 3.15.1; Ioffe and Szegedy, 2015.

    >>> layer = BatchNormalization(gamma_regularizer="l2")
    >>> layer(torch.tensor([[1.0], [3.0]])).flatten().tolist()
    [-0.9995003938674927, 0.9995003938674927]
    """

    moving_mean = KerasView("moving_mean")
    moving_mean_initializer = InitializerOf("moving_mean")
    moving_variance = KerasView("moving_variance")
    moving_variance_initializer = InitializerOf("moving_variance")
    running_mean: torch.Tensor
    running_var: torch.Tensor
    num_batches_tracked: torch.Tensor

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        beta = (beta_initializer, beta_regularizer, beta_constraint)
        gamma = (gamma_initializer, gamma_regularizer, gamma_constraint)
        super().__init__(epsilon, center, scale, beta, gamma, **kwargs)
        self.axis = axis
        self.momentum = number("momentum", momentum, 0.0, 1.0, where=self.name)
        self.declare_weight("moving_mean", moving_mean_initializer, attribute="running_mean", buffer=True)
        self.declare_weight("moving_variance", moving_variance_initializer, attribute="running_var", buffer=True)

    def build(self, input_shape: Any) -> None:
        channels = (int(input_shape[self.axis_in(self.axis, input_shape)]),)
        self.build_scale_and_shift(channels)
        mean = self.build_weight("moving_mean", channels)
        self.build_weight("moving_variance", channels)
        self.register_buffer("num_batches_tracked", torch.tensor(0, device=mean.device))

    def call(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        axis = self.axis_in(self.axis, inputs.shape)
        if inputs.shape[axis] != len(self.running_mean):
            raise ShapeError(
                f"{self.name}: axis {axis} must have size {len(self.running_mean)}, got shape {tuple(inputs.shape)}"
            )
        x = widened(inputs).movedim(axis, 1)
        mean, variance = widened(self.running_mean), widened(self.running_var)
        # An empty batch has no statistics; torch's function refuses one value a channel.
        by_batch = self.training and self.trainable and x.numel() > 0
        single = x.numel() == x.shape[1]
        if by_batch:
            if mask is not None:
                mean, variance = _masked_moments(widened(inputs), axis, mask)
            else:
                mean, variance = (x.flatten(), torch.zeros_like(x.flatten())) if single else _moments(x)
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), 1 - self.momentum)
                self.running_var.lerp_(variance.to(self.running_var.dtype), 1 - self.momentum)
                self.num_batches_tracked.add_(1)
        if by_batch and mask is None and not single:
            x = F.batch_norm(x, None, None, *self.scale_and_shift, training=True, eps=self.epsilon)
        elif mean.requires_grad:
            x = _normalized(x, mean, variance, *self.scale_and_shift, self.epsilon)
        else:
            x = F.batch_norm(x, mean, variance, *self.scale_and_shift, eps=self.epsilon)
        return x.movedim(1, axis).to(inputs.dtype)


@torch.no_grad()
def _moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and biased variance of each channel, axis 1."""
    variance, mean = torch.var_mean(x, [axis for axis in range(x.ndim) if axis != 1], correction=0)
    return mean, variance


def _masked_moments(inputs: torch.Tensor, axis: int, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and biased variance of each channel over the entries whose mask is True."""
    kept = mask.reshape(*mask.shape, *(1,) * (inputs.ndim - mask.ndim)).to(inputs.dtype).expand(inputs.shape)
    others = [other for other in range(inputs.ndim) if other != axis]
    count = kept.sum(others, keepdim=True).clamp(min=1)
    mean = (inputs * kept).sum(others, keepdim=True) / count
    variance = ((inputs - mean).square() * kept).sum(others, keepdim=True) / count
    return mean.flatten(), variance.flatten()


def _normalized(
    x: torch.Tensor,
    mean: torch.Tensor,
    variance: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    epsilon: float,
) -> torch.Tensor:
    """`F.batch_norm` with statistics that take a gradient."""
    shape = (1, -1, *(1,) * (x.ndim - 2))
    x = (x - mean.reshape(shape)) * torch.rsqrt(variance + epsilon).reshape(shape)
    x = x if weight is None else x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


@built_in("layer", module="keras.layers")
class LayerNormalization(_Normalization):
    """`gamma * (x - mean) / sqrt(variance + epsilon) + beta`, mean and variance of each sample over `axis`.

    `gamma` and `beta` have the sizes of the axes that are normalized. `state_dict` holds `weight` and `bias`, as
    `torch.nn.LayerNorm` does; torch's default epsilon is 1e-5.

    Parameters: `axis` -1, or several; `epsilon` 1e-3; `center`, `scale`; initializers; `beta_regularizer`,
    `gamma_regularizer`; those of `Layer`. Raises ArgumentError for bad arguments, ShapeError for inputs of another
    size. Source: Keras 3.15.1; Ba, Kiros and Hinton, 2016.

    >>> LayerNormalization()(torch.tensor([[1.0, 3.0]])).tolist()
    [[-0.9995003938674927, 0.9995003938674927]]
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        beta = (beta_initializer, beta_regularizer, beta_constraint)
        gamma = (gamma_initializer, gamma_regularizer, gamma_constraint)
        super().__init__(epsilon, center, scale, beta, gamma, **kwargs)
        self.axis = axis

    def build(self, input_shape: Any) -> None:
        self.normalized_shape = tuple(int(input_shape[axis]) for axis in self._axes(input_shape))
        self.build_scale_and_shift(self.normalized_shape)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        axes = self._axes(inputs.shape)
        if tuple(inputs.shape[axis] for axis in axes) != self.normalized_shape:
            raise ShapeError(
                f"{self.name}: axes {axes} must have sizes {self.normalized_shape}, got shape {tuple(inputs.shape)}"
            )
        last = tuple(range(-len(axes), 0))
        x = widened(inputs).movedim(axes, last)
        x = F.layer_norm(x, self.normalized_shape, *self.scale_and_shift, self.epsilon)
        return x.movedim(last, axes).to(inputs.dtype)

    def _axes(self, shape: Sequence[int]) -> tuple[int, ...]:
        given = (self.axis,) if isinstance(self.axis, int) else tuple(self.axis)
        axes = tuple(self.axis_in(axis, shape) for axis in given)
        if len(set(axes)) < len(axes):
            raise ArgumentError(f"{self.name}: axis must name each axis once, got {self.axis!r}")
        return axes


@built_in("layer", module="keras.layers")
class GroupNormalization(_Normalization):
    """`gamma * (x - mean) / sqrt(variance + epsilon) + beta`, mean and variance of each sample and group of channels.

    Parameters: `groups` 32, a divisor of the number of channels, or -1 for one channel a group; `axis` -1, of the
    channels; `epsilon` 1e-3; `center`, `scale`; initializers; `beta_regularizer`, `gamma_regularizer`; those of
    `Layer`. Raises ArgumentError for bad arguments, ShapeError for inputs of another size. Source: Keras 3.15.1; Wu
    and He, 2018.

    >>> GroupNormalization(2)(torch.tensor([[1.0, 3.0, 5.0, 5.0]])).round(decimals=2)
    tensor([[-1.,  1.,  0.,  0.]], grad_fn=<RoundBackward1>)
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        beta = (beta_initializer, beta_regularizer, beta_constraint)
        gamma = (gamma_initializer, gamma_regularizer, gamma_constraint)
        super().__init__(epsilon, center, scale, beta, gamma, **kwargs)
        self.groups = -1 if groups == -1 else integer("groups", groups, self.name)
        self.axis = axis

    def build(self, input_shape: Any) -> None:
        self.channels = int(input_shape[self.axis_in(self.axis, input_shape)])
        if self.groups != -1 and self.channels % self.groups:
            raise ArgumentError(
                f"{self.name}: the number of channels ({self.channels}) must be a multiple of groups ({self.groups})"
            )
        self.build_scale_and_shift((self.channels,))

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        axis = self.axis_in(self.axis, inputs.shape)
        if inputs.shape[axis] != self.channels:
            raise ShapeError(f"{self.name}: axis {axis} must have size {self.channels}, got {tuple(inputs.shape)}")
        groups = self.channels if self.groups == -1 else self.groups
        weight, bias = self.scale_and_shift
        if weight is None and bias is not None:
            # Of a bias alone torch computes no gradient.
            weight = torch.ones_like(bias)
        # torch.nn's function refuses groups of one value.
        x = torch.group_norm(widened(inputs).movedim(axis, 1), groups, weight, bias, self.epsilon)
        return x.movedim(1, axis).to(inputs.dtype)
