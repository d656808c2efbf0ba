"""Layers without weights that are any function, or none: Lambda and Identity."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from penalize.errors import ArgumentError
from penalize.layers.layer import Layer
from penalize.registry import built_in

__all__ = ["Identity", "Lambda"]


@built_in("layer", module="keras.layers")
class Identity(Layer):
    """The inputs as they are, masks among them: a place for an activity regularizer. Source: Keras 3.15.1.

    >>> import torch
    >>> layer = Identity(activity_regularizer="l1")
    >>> layer(torch.ones(2, 3)), layer.losses
    (tensor([[1., 1., 1.],
            [1., 1., 1.]]), [tensor(0.0300)])
    """

    supports_masking = True

    def call(self, inputs: Any) -> Any:
        return inputs


@built_in("layer", module="keras.layers")
class Lambda(Layer):
    """`function(inputs, **arguments)` as a layer.

    A function that has an argument `mask` or `training` is given the mask of the inputs or the layer's mode. A function
    that is an `nn.Module` is a part of the layer: its parameters are trained.

    Parameters: `function`; `output_shape`, kept for files, since outputs show their own; `mask`, that of the output, or
    a function of the inputs and their mask (None: the output has none); `arguments`, further ones by name; those of
    `Layer`.

    Raises ArgumentError for a function that is none, and arguments that are no mapping. Source: Keras 3.15.1.

    >>> import torch
    >>> Lambda(lambda x, power: x**power, arguments={"power": 2})(torch.tensor([3.0]))
    tensor([9.])
    """

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not callable(function):
            raise ArgumentError(f"{self.name}: function must be one, got {type(function).__name__}: {function!r:.80}")
        if arguments is not None and not isinstance(arguments, Mapping):
            raise ArgumentError(f"{self.name}: arguments must be a mapping of names, got {arguments!r:.80}")
        self.function = function
        self.output_shape = output_shape
        self.mask = mask
        self.arguments = dict(arguments or {})
        self.supports_masking = mask is not None
        taken = _argument_names(function)
        self._takes_mask, self._takes_training = "mask" in taken, "training" in taken

    def call(self, inputs: Any, mask: Any = None, training: bool = False) -> Any:
        arguments = dict(self.arguments)
        if self._takes_mask:
            arguments["mask"] = mask
        if self._takes_training:
            arguments["training"] = training
        return self.function(inputs, **arguments)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return self.mask(inputs, previous_mask) if callable(self.mask) else self.mask


def _argument_names(function: Callable[..., Any]) -> set[str]:
    try:
        return set(inspect.signature(function).parameters)
    except ValueError:
        return set()  # functions in C, such as torch's, need not say
