"""TorchModuleWrapper: any `nn.Module` as a layer."""

from __future__ import annotations

from typing import Any

from torch import nn

from penalize.errors import ArgumentError
from penalize.layers.layer import Layer
from penalize.registry import built_in

__all__ = ["TorchModuleWrapper"]


@built_in("layer", module="keras.layers")
class TorchModuleWrapper(Layer):
    """Calls `module`, any `nn.Module`, as a layer: with an activity regularizer, or on the inputs of a `Model`.

    Raises ArgumentError when `module` is none. Source: Keras 3.15.1.

    >>> import penalize
    >>> from torch import nn
    >>> x = penalize.Input((4,))
    >>> TorchModuleWrapper(nn.Linear(4, 3), activity_regularizer="l2")(x).shape
    (None, 3)
    """

    def __init__(self, module: nn.Module, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        if not isinstance(module, nn.Module):
            raise ArgumentError(
                f"{self.name}: module must be an nn.Module, got {type(module).__name__}: {module!r:.80}"
            )
        self.module = module

    def call(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)
