"""The graph between the symbolic inputs and outputs of a model: its layers in order, and running it."""

from __future__ import annotations

from typing import Any

import torch

from penalize.errors import ArgumentError, ShapeError, nearest
from penalize.layers import InputLayer, Layer
from penalize.layers.symbolic import Node, SymbolicTensor, find_symbolic, mapped

__all__ = ["Graph"]


class Graph:
    """All nodes that lead from `inputs` to `outputs`, nested in lists, tuples and dicts as the user gave them.

    Raises ArgumentError for inputs that are not made with `Input`, and outputs that need one which is not given.
    """

    def __init__(self, inputs: Any, outputs: Any, name: str) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.name = name
        self.added: list[SymbolicTensor] = []
        self.sources = find_symbolic([inputs])
        if not self.sources or not all(isinstance(source.node.function, InputLayer) for source in self.sources):
            raise ArgumentError(f"{name}: inputs must be made with Input, got {inputs!r:.80}")
        if not find_symbolic([outputs]):
            raise ArgumentError(f"{name}: outputs must be made by calling layers with the inputs, got {outputs!r:.80}")
        self.nodes = self._ordered()

    def add(self, tensor: SymbolicTensor) -> None:
        """A further tensor to compute at each call: one that is added to the losses."""
        self.added.append(tensor)
        try:
            self.nodes = self._ordered()
        except ArgumentError:
            self.added.pop()
            raise

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Each symbolic tensor finds its node again, which is left out when it is copied."""
        self.__dict__.update(state)
        for node in self.nodes:
            for tensor in find_symbolic([node.outputs]):
                tensor.node = node

    @property
    def layers(self) -> list[Layer]:
        """The layers, once each: those farthest from the outputs first, as Keras lists them."""
        return list(
            {id(node.function): node.function for node in self.nodes if isinstance(node.function, Layer)}.values()
        )

    def output_shape(self, layer: Layer) -> Any:
        """The shape of what a layer gives at its first call; nested as its outputs are."""
        node = min((node for node in self.nodes if node.function is layer), key=lambda node: node.number)
        return mapped(node.outputs, lambda tensor: tensor.shape)

    def run(self, inputs: Any) -> tuple[Any, list[torch.Tensor]]:
        """The outputs for these inputs, of a list of one that one itself, as Keras does; and the added tensors."""
        values = {id(source): value for source, value in zip(self.sources, self._matched(inputs), strict=True)}

        def value_of(tensor: SymbolicTensor) -> Any:
            return values[id(tensor)]

        for node in self.nodes:
            own = node.outputs
            if node.function is None or id(own) in values:
                if isinstance(node.function, InputLayer):
                    values[id(own)] = node.function(values[id(own)])
                continue
            result = node.function(*mapped(node.args, value_of), **mapped(node.kwargs, value_of))
            _assign(own, result, values)
        outputs = mapped(self.outputs, value_of)
        if isinstance(outputs, list | tuple) and len(outputs) == 1:
            outputs = outputs[0]
        return outputs, [value_of(tensor) for tensor in self.added]

    def _matched(self, inputs: Any) -> list[Any]:
        """The values in the order of the inputs: nested as those are, or a dict by the names of the `Input`s."""
        if isinstance(inputs, dict) and not isinstance(self.inputs, dict):
            names = [getattr(source.node.function, "name", "") for source in self.sources]
            missing = [name for name in names if name not in inputs]
            if missing:
                raise ArgumentError(f"{self.name}: no input {missing[0]!r}: {nearest(missing[0], inputs)}")
            return [inputs[name] for name in names]
        if isinstance(inputs, dict):
            missing = [key for key in self.inputs if key not in inputs]
            if missing:
                raise ArgumentError(
                    f"{self.name}: no input {missing[0]!r}: {nearest(str(missing[0]), map(str, inputs))}"
                )
            return [inputs[key] for key in self.inputs]
        values = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        if len(values) != len(self.sources):
            raise ShapeError(f"{self.name}: expected {len(self.sources)} inputs, got {len(values)}")
        return values

    def _ordered(self) -> list[Node]:
        """The nodes, the farthest from the outputs first; among equals in the order in which they are first needed."""
        needed: list[Node] = []
        seen: set[int] = set()
        place: dict[int, int] = {}
        known = {id(source) for source in self.sources}
        sources = {id(source.node) for source in self.sources}

        def visit(tensor: SymbolicTensor) -> None:
            node = tensor.node
            if id(node) in seen:
                return
            seen.add(id(node))
            place.setdefault(_placed(node), len(place))
            if id(tensor) not in known:
                if not node.inputs:
                    raise ArgumentError(
                        f"{self.name}: the outputs need the input {getattr(node.function, 'name', '?')!r}, which is "
                        "not among the inputs"
                    )
                for source in node.inputs:
                    visit(source)
            needed.append(node)

        for tensor in find_symbolic([self.outputs, self.added]):
            visit(tensor)
        for source in self.sources:
            if id(source.node) not in seen:
                needed.append(source.node)
                place[_placed(source.node)] = -1
        depths: dict[int, int] = {}
        of_layer: dict[int, int] = {}
        for node in reversed(needed):
            # All calls of a shared layer stand as far from the outputs as its farthest.
            depth = max(depths.get(id(node), 0), of_layer.get(_placed(node), 0))
            depths[id(node)] = of_layer[_placed(node)] = depth
            if id(node) not in sources:
                for tensor in node.inputs:
                    depths[id(tensor.node)] = max(depths.get(id(tensor.node), 0), depth + 1)
        return sorted(needed, key=lambda node: (-depths[id(node)], place[_placed(node)]))


def _placed(node: Node) -> int:
    """What has one place among the layers: all calls of a layer; each call of a function."""
    return id(node.function) if isinstance(node.function, Layer) else id(node)


def _assign(symbolic: Any, result: Any, values: dict[int, Any]) -> None:
    """Remember the tensors of a result under the symbolic tensors that stand for them."""
    if isinstance(symbolic, SymbolicTensor):
        values[id(symbolic)] = result
    elif isinstance(symbolic, dict):
        for key, item in symbolic.items():
            _assign(item, result[key], values)
    elif isinstance(symbolic, list | tuple):
        for item, part in zip(symbolic, result, strict=True):
            _assign(item, part, values)
