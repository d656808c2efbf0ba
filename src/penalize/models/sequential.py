"""`Sequential`: layers one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import torch
from torch import nn

from penalize.errors import ArgumentError, ConfigError, PenalizeError
from penalize.layers import InputLayer, Layer
from penalize.layers.described import arguments_from, config_of, entry_of, layer_from
from penalize.layers.symbolic import SymbolicTensor, trial
from penalize.models.model import Model
from penalize.placement import records_below
from penalize.registry import built_in

__all__ = ["Sequential"]


@built_in("layer", module="keras")
class Sequential(Model):
    """A model that calls its layers one after the other; also takes any `nn.Module` as a layer.

    With an `Input` in front (or `input_shape`/`input_dim` on the first layer) the layers are built as they are added,
    else at the first call. `state_dict` names the layers "0", "1", ... as `torch.nn.Sequential` does.

    Raises ArgumentError for what is no module, for an Input that is not in front, and for two layers of one name.
    Source: Keras 3.15.1, `keras.Sequential`.

    >>> import penalize
    >>> from penalize import layers
    >>> model = penalize.Sequential([penalize.Input((4,)), layers.Dense(3, "relu"), layers.Dense(1)])
    >>> model.count_params()
    19
    >>> list(model.state_dict())
    ['0.weight', '0.bias', '1.weight', '1.bias']
    """

    def __init__(self, layers: Iterable[nn.Module | SymbolicTensor] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.input_layer: InputLayer | None = None
        self._known_shape: tuple[int, ...] | None = None
        self.output_shapes: list[Any] = []
        self._last_sample: Any = None
        for layer in layers or ():
            self.add(layer)

    def add(self, layer: nn.Module | SymbolicTensor) -> None:
        """Append a layer; it is built at once where the shape of its input is known."""
        if isinstance(layer, SymbolicTensor) and isinstance(layer.node.function, InputLayer):
            layer = layer.node.function
        if not isinstance(layer, nn.Module):
            raise ArgumentError(
                f"{self.name}: a layer must be a Layer or another nn.Module, got {type(layer).__name__}"
            )
        if isinstance(layer, InputLayer):
            if len(self) or self.input_layer is not None:
                raise ArgumentError(f"{self.name}: an Input can only be the first of the layers")
            self._begin_with(layer)
            return
        for other in self.stack:
            if other is not layer and isinstance(other, Layer) and getattr(layer, "name", None) == other.name:
                raise ArgumentError(f"{self.name}: there is a layer named {other.name!r} already; give it another name")
        shape = getattr(layer, "input_shape_argument", None)
        if not len(self) and self.input_layer is None and shape is not None:
            self._begin_with(InputLayer(shape))
        self.add_module(str(len(self)), layer)
        self._optimizer = None
        self._extend()

    def pop(self) -> nn.Module:
        """Remove the last layer and return it."""
        if not len(self):
            raise ArgumentError(f"{self.name}: there is no layer to remove")
        last = self._modules.pop(str(len(self) - 1))
        assert last is not None
        self._optimizer = None
        if self.output_shapes:
            self.output_shapes.clear()
            if self.input_layer is not None:
                self._begin_with(self.input_layer)
            self._extend()
        return last

    @property
    def stack(self) -> list[nn.Module]:
        """The layers in the order of the call; one that was added twice stands here twice."""
        return [module for module in self._modules.values() if module is not None]

    @property
    def layers(self) -> list[Any]:
        """The layers in the order of the call, without the Input."""
        return self.stack

    @property
    def input_shape(self) -> tuple[int | None, ...] | None:
        """The shape of the inputs, batch axis included; None before it is known."""
        return None if self.input_layer is None else self.input_layer.batch_shape

    def build(self, input_shape: Any) -> None:
        """Build the layers for inputs of this shape, batch axis included."""
        if self.input_layer is None:
            self._begin_with(InputLayer(batch_shape=(None, *input_shape[1:])))
            self._extend()

    def input_dtype(self) -> torch.dtype | None:
        """None: each layer casts its own inputs."""
        return None

    def call(self, inputs: Any) -> Any:
        if self.input_layer is not None:
            inputs = self.input_layer(inputs)
        for layer in self.stack:
            inputs = layer(inputs)
        return inputs

    def get_config(self) -> dict[str, Any]:
        """The config in Keras's form: the layers from the Input on; a layer that stands twice is written twice.

        Keras reads no `trainable` and no `activity_regularizer` of a Sequential; here they come back.
        Raises ConfigError for what could not be read back, such as a plain torch module.
        """
        config: dict[str, Any] = {**config_of(self, without=["layers"]), "layers": []}
        for layer in [*([self.input_layer] if self.input_layer is not None else []), *self.stack]:
            if not isinstance(layer, Layer):
                raise ConfigError(f"{self.name}: {type(layer).__name__} is no Layer, and has no config")
            config["layers"].append(entry_of(layer))
        if self.input_layer is not None:
            config["build_input_shape"] = list(self.input_layer.batch_shape)
        return config

    def layers_in_config(self) -> list[Any]:
        return self.stack

    def parts_in_files(self) -> Iterator[tuple[str, Any]]:
        yield "layers", self.stack

    @property
    def class_name_in_files(self) -> str:
        """What files call the class."""
        return type(self).__name__

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A new model with the layers that `get_config` gave, and fresh weights.

        Raises ConfigError for a config that does not fit, and for two layers of one name that differ.
        """
        values = dict(config)
        entries, shape = values.pop("layers", None), values.pop("build_input_shape", None)
        if not isinstance(entries, list):
            raise ConfigError(f"{cls.__name__}: layers must be a list of configs, got {type(entries).__name__}")
        trainable = values.pop("trainable", True)
        model = cls(**arguments_from(values))
        known: dict[str, tuple[Any, Layer]] = {}
        for entry in entries:
            layer = layer_from(entry)
            before, same = known.get(layer.name, (entry, layer))
            if before != entry:
                raise ConfigError(f"{model.name}: two different layers are named {layer.name!r:.80}")
            known[layer.name] = (entry, same)
            model.add(same)
        if shape is not None and model.input_layer is None:
            model.build(shape)
        if trainable is False:
            model.trainable = False
        return model

    def __len__(self) -> int:
        return len(self._modules)

    def _begin_with(self, layer: InputLayer) -> None:
        # Kept outside of torch's table of parts, which the layers are numbered by.
        object.__setattr__(self, "input_layer", layer)
        sizes = layer.batch_shape[1:]
        self._known_shape = None if None in sizes else tuple(size for size in sizes if size is not None)

    @torch.no_grad()
    def _extend(self) -> None:
        """Build the layers whose input shape is known, by running one sample of zeros through them."""
        if self._known_shape is None:
            return
        done = len(self.output_shapes)
        if done == 0:
            dtype = self.input_layer.dtype if self.input_layer is not None else self.dtype
            self._last_sample = torch.zeros(1, *self._known_shape, dtype=dtype)
        sample = self._last_sample
        for layer in self.stack[done:]:
            mode = layer.training
            layer.eval()
            try:
                with trial():
                    sample = layer(sample)
            except (RuntimeError, ValueError, TypeError) as error:
                if isinstance(error, PenalizeError):
                    raise
                name = getattr(layer, "name", type(layer).__name__)
                raise ArgumentError(
                    f"{self.name}: {name} cannot take inputs of shape {_shape(sample)}: {error}"
                ) from error
            finally:
                layer.train(mode)
            self.output_shapes.append(_shape(sample))
            for record in records_below(layer):
                record.clear()
        self._last_sample = sample
        self.built = True


def _shape(output: Any) -> Any:
    """The shape of an output with None for the batch axis."""
    if isinstance(output, torch.Tensor):
        return (None, *output.shape[1:])
    return type(output).__name__
