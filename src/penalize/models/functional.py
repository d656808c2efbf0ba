"""`Functional`: what a model is made of that is given by its inputs and outputs."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any, Self

import torch
from torch import nn

from penalize.errors import ArgumentError
from penalize.layers import Layer
from penalize.layers.described import arguments_from, config_of, whole_entry_of
from penalize.layers.symbolic import SymbolicTensor, find_symbolic
from penalize.models.graph import Graph
from penalize.models.graph_config import config_of_graph, graph_of_config

__all__ = ["Functional", "takes_a_graph"]


def takes_a_graph(kind: type) -> bool:
    """Whether a class of models is made from inputs and outputs, and not from arguments of its own."""
    return {"inputs", "outputs"} <= set(inspect.signature(kind).parameters)


class Functional(Layer):
    """A layer that runs the graph from symbolic `inputs` to `outputs`, where these are given.

    Raises ArgumentError for inputs that are not made with `Input`, outputs that do not come from them, and two layers
    of one name.
    """

    supports_masking = True

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        """None: the layers inside have put their masks on the output."""

    def __init__(self, inputs: Any = None, outputs: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.graph: Graph | None = None
        if inputs is not None or outputs is not None:
            self.graph = Graph(inputs, outputs, self.name)
            self._hold(self.graph)
            self.built = True

    def call(self, *args: Any, **kwargs: Any) -> Any:
        if self.graph is None:
            return super().call(*args, **kwargs)
        if not args and list(kwargs) == ["inputs"]:
            args, kwargs = (kwargs["inputs"],), {}
        if len(args) != 1 or kwargs:
            raise ArgumentError(
                f"{self.name}: call the model with its inputs as one argument, a list or dict for several"
            )
        outputs, added = self.graph.run(args[0], self._modules)
        for value in added:
            super().add_loss(value)
        return outputs

    def input_dtype(self) -> torch.dtype | None:
        """None for a graph: each layer inside casts its own inputs."""
        return None if self.graph is not None else super().input_dtype()

    def add_loss(self, loss: Any) -> None:
        """Add a scalar tensor (or a nested structure of tensors, each summed) to `losses`, until the next call.

        A symbolic tensor, made of the inputs of a `Model(inputs, outputs)`, is computed and added at every call.
        Raises ArgumentError for Python numbers and functions, which have no gradient.
        """
        if not isinstance(loss, SymbolicTensor):
            super().add_loss(loss)
            return
        if self.graph is None:
            raise ArgumentError(f"{self.name}: add_loss takes a symbolic tensor only in a Model(inputs, outputs)")
        self.graph.add(loss)
        self._hold(self.graph)

    @property
    def inputs(self) -> list[SymbolicTensor]:
        """The symbolic inputs of a `Model(inputs, outputs)`."""
        return find_symbolic([self._require_graph().inputs])

    @property
    def outputs(self) -> list[SymbolicTensor]:
        """The symbolic outputs of a `Model(inputs, outputs)`."""
        return find_symbolic([self._require_graph().outputs])

    def get_config(self) -> dict[str, Any]:
        """The config in Keras's form: of a `Model(inputs, outputs)` its layers and their calls; else its arguments.

        Raises ConfigError for what could not be read back.
        """
        if self.graph is None or not takes_a_graph(type(self)):
            return super().get_config()
        return {**config_of(self, without=["inputs", "outputs"]), **config_of_graph(self.graph, self._modules)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A new model with the layers that `get_config` gave, and fresh weights.

        Raises ConfigError for a config that does not fit.
        """
        if "layers" not in config:
            return super().from_config(config)
        name = str(config.get("name", cls.__name__))
        inputs, outputs = graph_of_config(config, name)
        values = {key: value for key, value in config.items() if key not in ("layers", "input_layers", "output_layers")}
        trainable = values.pop("trainable", True)
        model = cls(**arguments_from(values), inputs=inputs, outputs=outputs)
        # The layers' own settings stand in their configs.
        model._trainable = bool(trainable)
        return model

    def layers_in_config(self) -> list[Any]:
        """The layers that the config describes."""
        if self.graph is None or not takes_a_graph(type(self)):
            return []
        return [self._modules[name] for name in self.graph.names_of_layers()]

    def parts_in_files(self) -> Iterator[tuple[str, Any]]:
        if self.graph is None:
            # Keras goes through the attributes by name, `layers` among them, which holds what comes behind it.
            yield from sorted([*super().parts_in_files(), ("layers", self.layers)], key=lambda part: part[0])
            return
        names = self.graph.names_of_layers()
        yield "layers", [self._modules[name] for name in names]
        for name, part in super().parts_in_files():
            if name not in names:
                yield name, part

    @property
    def layers(self) -> list[Layer]:
        """The layers directly inside, and in lists and dicts directly inside, in order."""
        found: dict[int, Layer] = {}
        for part in self.children():
            inside = part.children() if isinstance(part, nn.ModuleList | nn.ModuleDict) else [part]
            found |= {id(layer): layer for layer in inside if isinstance(layer, Layer)}
        return list(found.values())

    def to_json(self, **options: Any) -> str:
        """The config as JSON text, which `model_from_json`, and Keras, make a model of; `options` go to `json.dumps`.

        Without weights and without what `compile` set. Raises ConfigError for what could not be read back.
        """
        return json.dumps(whole_entry_of(self), **options)

    @property
    def class_name_in_files(self) -> str:
        """What files call the class."""
        return "Functional" if self.graph is not None and takes_a_graph(type(self)) else type(self).__name__

    def _require_graph(self) -> Graph:
        if self.graph is None:
            raise ArgumentError(f"{self.name}: only a Model(inputs, outputs) has symbolic inputs and outputs")
        return self.graph

    def _hold(self, graph: Graph) -> None:
        """Make the layers of the graph parts of this one, under their names."""
        for layer in graph.layers:
            name = layer.name.replace(".", "_")
            while name not in self._modules and (name in vars(self) or hasattr(type(self), name)):
                name += "_"  # "inputs", "outputs", ... are the model's own
            held = self._modules.get(name)
            if held is not None and held is not layer:
                raise ArgumentError(f"{self.name}: two layers are named {layer.name!r}; give one another name")
            self.add_module(name, layer)
            graph.hold_as(layer, name)
