"""Layers without weights: Flatten, Dropout, Activation, ActivityRegularization."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from penalize import activations
from penalize.arguments import number
from penalize.errors import ArgumentError
from penalize.layers.convolution import as_data_format
from penalize.layers.layer import Layer
from penalize.registry import built_in
from penalize.regularizers import L1L2

__all__ = ["Activation", "ActivityRegularization", "Dropout", "Flatten"]


@built_in("layer", module="keras.layers")
class Flatten(Layer):
    """All axes but the first in one; inputs (batch,) become (batch, 1).

    With `data_format="channels_first"` the channels are moved last first, so that both formats flatten alike.
    Raises ArgumentError for another data_format. Source: Keras 3.15.1.

    >>> import torch
    >>> Flatten()(torch.ones(2, 3, 4)).shape
    torch.Size([2, 12])
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = as_data_format(data_format, self.name)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.data_format == "channels_first" and inputs.ndim > 2:
            inputs = inputs.movedim(1, -1)
        return inputs.reshape(inputs.shape[0], -1) if inputs.ndim > 1 else inputs[:, None]


@built_in("layer", module="keras.layers")
class Dropout(Layer):
    """In training, sets a random share `rate` of the inputs to 0 and divides the rest by `1 - rate`.

    Random numbers come from torch's generator, or, with `seed`, from one of the layer's own. `noise_shape` gives the
    shape of the random mask: 1 (or None for the inputs' own size) on an axis shares one draw along it.

    Raises ArgumentError for a rate outside 0 <= rate <= 1 or a noise_shape of another rank. Source: Keras 3.15.1.

    >>> import torch
    >>> Dropout(0.5).eval()(torch.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(
        self, rate: float, noise_shape: tuple[int | None, ...] | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.rate = number("rate", rate, 0.0, 1.0, where=self.name)
        self.noise_shape = noise_shape
        self.seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        if not self.training or self.rate == 0:
            return inputs
        if self.rate == 1:
            return torch.zeros_like(inputs)
        if self.noise_shape is None and self.seed is None:
            return F.dropout(inputs, self.rate)
        shape = self._mask_shape(inputs)
        keep = torch.rand(shape, device=inputs.device, generator=self._generator(inputs.device)) >= self.rate
        return inputs * keep / (1 - self.rate)

    def _mask_shape(self, inputs: torch.Tensor) -> list[int]:
        if self.noise_shape is None:
            return list(inputs.shape)
        if len(self.noise_shape) != inputs.ndim:
            raise ArgumentError(
                f"{self.name}: noise_shape {self.noise_shape} must have the rank of the inputs, {tuple(inputs.shape)}"
            )
        return [own if given is None else given for given, own in zip(self.noise_shape, inputs.shape, strict=True)]

    def _generator(self, device: torch.device) -> torch.Generator | None:
        if self.seed is None:
            return None
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self._generators[device]

    def __getstate__(self) -> dict[str, Any]:
        # A generator cannot be copied; a copy begins at the seed again.
        return {**self.__dict__, "_generators": {}}


@built_in("layer", module="keras.layers")
class Activation(Layer):
    """An activation function, by name or as a function, as a layer. Source: Keras 3.15.1.

    Raises UnknownNameError for an unknown name, offering the nearest.

    >>> import torch
    >>> Activation("relu", activity_regularizer="l1")(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activations.get(activation)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.activation(inputs)
        return output


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

    def __init__(self, l1: Any = 0.0, l2: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(activity_regularizer=L1L2(l1, l2), **kwargs)

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
