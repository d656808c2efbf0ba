"""Layers that regularize by themselves: dropouts, noise and ActivityRegularization."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from penalize.arguments import number
from penalize.errors import ArgumentError, ShapeError
from penalize.layers.layer import Layer
from penalize.layers.seeded import Seeded
from penalize.layers.spatial import as_data_format
from penalize.registry import built_in
from penalize.regularizers import L1L2

__all__ = [
    "ActivityRegularization",
    "Dropout",
    "GaussianNoise",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
]


@built_in("layer", module="keras.layers")
class Dropout(Seeded):
    """In training, sets a random share `rate` of the inputs to 0 and divides the rest by `1 - rate`.

    Random numbers come from torch's generator, or, with `seed`, from one of the layer's own. `noise_shape` gives the
    shape of the random mask: 1 (or None for the inputs' own size) on an axis shares one draw along it.

    Raises ArgumentError for a rate outside 0 <= rate <= 1 or a noise_shape of another rank. Source: Keras 3.15.1.

    >>> import torch
    >>> Dropout(0.5).eval()(torch.ones(3))
    tensor([1., 1., 1.])
    """

    supports_masking = True

    def __init__(
        self, rate: float, noise_shape: tuple[int | None, ...] | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, **kwargs)
        self.rate = number("rate", rate, 0.0, 1.0, where=self.name)
        self.noise_shape = noise_shape

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        if not self.training or self.rate == 0:
            return inputs
        shape = self.mask_shape(inputs)
        if self.seed is None and shape == list(inputs.shape):
            return F.dropout(inputs, self.rate)
        return inputs * self.dropout_mask(shape, self.rate, inputs)

    def mask_shape(self, inputs: torch.Tensor) -> list[int]:
        """The shape of the random mask for these inputs."""
        if self.noise_shape is None:
            return list(inputs.shape)
        if len(self.noise_shape) != inputs.ndim:
            raise ArgumentError(
                f"{self.name}: noise_shape {self.noise_shape} must have the rank of the inputs, {tuple(inputs.shape)}"
            )
        return [own if given is None else given for given, own in zip(self.noise_shape, inputs.shape, strict=True)]


class _SpatialDropout(Dropout):
    """Drops whole channels: one draw for all spatial positions; `rank` is the number of spatial axes."""

    rank: ClassVar[int]
    data_format = "channels_last"

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; `trainable` only where it is False, as Keras's class does not take it."""
        config = super().get_config()
        return config if config["trainable"] is False else {key: config[key] for key in config if key != "trainable"}

    def mask_shape(self, inputs: torch.Tensor) -> list[int]:
        if inputs.ndim != self.rank + 2:
            raise ShapeError(f"{self.name}: inputs must have rank {self.rank + 2}, got shape {tuple(inputs.shape)}")
        ones = [1] * self.rank
        if self.data_format == "channels_first":
            return [inputs.shape[0], inputs.shape[1], *ones]
        return [inputs.shape[0], *ones, inputs.shape[-1]]


@built_in("layer", module="keras.layers")
class SpatialDropout1D(_SpatialDropout):
    """`Dropout` of whole channels of inputs (batch, steps, channels).

    Raises ArgumentError for a rate outside 0 <= rate <= 1, ShapeError for inputs of another rank. Source: Keras 3.15.1.

    >>> y = SpatialDropout1D(0.5, seed=0)(torch.ones(1, 3, 8))
    >>> bool((y == y[:, :1]).all())
    True
    """

    rank = 1

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(rate, None, seed, **kwargs)


@built_in("layer", module="keras.layers")
class SpatialDropout2D(_SpatialDropout):
    """`Dropout` of whole channels of inputs (batch, rows, columns, channels), or channels second."""

    rank = 2

    def __init__(self, rate: float, data_format: str | None = None, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(rate, None, seed, **kwargs)
        self.data_format = as_data_format(data_format, self.name)


@built_in("layer", module="keras.layers")
class SpatialDropout3D(SpatialDropout2D):
    """`Dropout` of whole channels of inputs (batch, a, b, c, channels), or channels second."""

    rank = 3


@built_in("layer", module="keras.layers")
class GaussianNoise(Seeded):
    """In training, adds numbers drawn from a normal distribution of mean 0 and deviation `stddev`.

    Raises ArgumentError for a stddev outside 0 <= stddev <= 1. Source: Keras 3.15.1.

    >>> GaussianNoise(0.1).eval()(torch.ones(2))
    tensor([1., 1.])
    """

    supports_masking = True

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.stddev = number("stddev", stddev, 0.0, 1.0, where=self.name)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        if not self.training or self.stddev == 0:
            return inputs
        device = inputs.device
        noise = torch.randn(inputs.shape, dtype=inputs.dtype, device=device, generator=self.generator(device))
        return inputs + self.stddev * noise


@built_in("layer", module="keras.layers")
class ActivityRegularization(Layer):
    """The identity, which penalizes its input with `(l1 * sum(abs(x)) + l2 * sum(x**2)) / batch`.

    `l1` and `l2` can be changed later. Raises StrengthError for strengths that are no finite numbers >= 0, or when one
    is set after the activity regularizer was replaced by another kind. Source: Keras 3.15.1.

    >>> import torch
    >>> layer = ActivityRegularization(l1=0.5)
    >>> _ = layer(torch.ones(4, 3))
    >>> layer.losses
    [tensor(1.5000)]
    """

    supports_masking = True

    def __init__(self, l1: Any = 0.0, l2: Any = 0.0, **kwargs: Any) -> None:
        given = kwargs.pop("activity_regularizer", None)
        super().__init__(activity_regularizer=L1L2(l1, l2) if given is None else given, **kwargs)
        if given is not None and (l1 != 0 or l2 != 0):
            raise ArgumentError(f"{self.name}: give either l1 and l2 or an activity_regularizer, got {given!r:.80} too")

    @property
    def left_out_arguments(self) -> tuple[str, ...]:  # type: ignore[override]
        """l1 and l2, once the regularizer was replaced by one of another kind."""
        return ("activity_regularizer",) if type(self.activity_regularizer) is L1L2 else ("l1", "l2")

    @property
    def l1(self) -> Any:
        return self._regularizer().l1

    @l1.setter
    def l1(self, value: Any) -> None:
        self._regularizer().l1 = value

    @property
    def l2(self) -> Any:
        return self._regularizer().l2

    @l2.setter
    def l2(self, value: Any) -> None:
        self._regularizer().l2 = value

    def _regularizer(self) -> L1L2:
        if not isinstance(self.activity_regularizer, L1L2):
            raise ArgumentError(f"{self.name}: l1 and l2 belong to L1L2, it now has {self.activity_regularizer!r}")
        return self.activity_regularizer

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs
