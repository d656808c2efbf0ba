"""The graph between the symbolic inputs and outputs of a model: its layers in order, and running it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from penalize.errors import ArgumentError, ShapeError, nearest
from penalize.layers import InputLayer, Layer
from penalize.layers.symbolic import Node, SymbolicTensor, find_symbolic, mapped

__all__ = ["Graph"]


class Graph:
    """All nodes that lead from `inputs` to `outputs`, nested in lists, tuples and dicts as the user gave them.

    Inputs that are made of others are replaced by an `Input` of their own. Raises ArgumentError for what is no symbolic
    tensor, and for outputs that need an input which is not given.
    """

    def __init__(self, inputs: Any, outputs: Any, name: str) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.name = name
        self.added: list[SymbolicTensor] = []
        self.names: dict[int, str] = {}
        self.sources = find_symbolic([inputs])
        if not self.sources:
            raise ArgumentError(f"{name}: inputs must be made with Input, got {inputs!r:.80}")
        if not find_symbolic([outputs]):
            raise ArgumentError(f"{name}: outputs must be made by calling layers with the inputs, got {outputs!r:.80}")
        self.nodes = self._ordered()
        if not all(_is_input(source) for source in self.sources):
            own = [
                s if _is_input(s) else InputLayer(batch_shape=s.shape, dtype=s.dtype).symbolic() for s in self.sources
            ]
            self.inputs, self.outputs, _ = self.applied_to(own, lambda node: node.function)
            self.sources = own
            self.nodes = self._ordered()

    def applied_to(
        self, sources: Sequence[SymbolicTensor], function: Callable[[Node], Any]
    ) -> tuple[Any, Any, list[SymbolicTensor]]:
        """Every call of the graph again, from these tensors on: new inputs, outputs and added tensors."""
        tensors = {id(own): other for own, other in zip(self.sources, sources, strict=True)}

        def again(tensor: SymbolicTensor) -> SymbolicTensor:
            return tensors[id(tensor)]

        for node in sorted(self.nodes, key=lambda node: node.number):
            own = find_symbolic([node.outputs])
            if not any(id(tensor) in tensors for tensor in own):
                outputs = node.again(function(node), mapped(node.args, again), mapped(node.kwargs, again))
                tensors |= {id(old): new for old, new in zip(own, find_symbolic([outputs]), strict=True)}
        return mapped(self.inputs, again), mapped(self.outputs, again), [again(tensor) for tensor in self.added]

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

    def hold_as(self, layer: Layer, name: str) -> None:
        """Remember the name under which the model holds a layer: what it holds there is what runs."""
        self.names |= {node.number: name for node in self.nodes if node.function is layer}

    def names_of_layers(self) -> list[str]:
        """The names under which the model holds its layers, in their order."""
        return list(dict.fromkeys(self.names[node.number] for node in self.nodes if node.number in self.names))

    def function(self, node: Node, held: Mapping[str, nn.Module | None]) -> Any:
        """The layer or function of a node: a layer is the one that the model holds now."""
        return held.get(self.names.get(node.number, ""), node.function)

    def output_shape(self, layer: Layer) -> Any:
        """The shape of what a layer gives at its first call; nested as its outputs are."""
        node = min((node for node in self.nodes if node.function is layer), key=lambda node: node.number)
        return mapped(node.outputs, lambda tensor: tensor.shape)

    def run(self, inputs: Any, held: Mapping[str, nn.Module | None]) -> tuple[Any, list[torch.Tensor]]:
        """The outputs for these inputs, of a list of one that one itself, as Keras does; and the added tensors.

        `held` are the model's layers by name.
        """
        values = {id(source): value for source, value in zip(self.sources, self._matched(inputs), strict=True)}

        def value_of(tensor: SymbolicTensor) -> Any:
            return values[id(tensor)]

        for node in self.nodes:
            own = node.outputs
            function = self.function(node, held)
            if function is None or id(own) in values:
                if isinstance(function, InputLayer):
                    values[id(own)] = function(values[id(own)])
                continue
            result = function(*mapped(node.args, value_of), **mapped(node.kwargs, value_of))
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

        # Depth first, without recursion: models may be deeper than Python's stack.
        opened: list[tuple[Node | None, Iterator[SymbolicTensor]]] = [
            (None, iter(find_symbolic([self.outputs, self.added])))
        ]
        while opened:
            open_node, tensors = opened[-1]
            for tensor in tensors:
                node = tensor.node
                if id(node) in sources and id(tensor) not in known:
                    raise ArgumentError(f"{self.name}: {tensor!r} comes with an input, and must be an input, too")
                if id(node) in seen:
                    continue
                seen.add(id(node))
                place.setdefault(_placed(node), len(place))
                if id(tensor) not in known and not node.inputs:
                    raise ArgumentError(
                        f"{self.name}: the outputs need the input {getattr(node.function, 'name', '?')!r}, which is "
                        "not among the inputs"
                    )
                opened.append((node, iter(node.inputs if id(tensor) not in known else ())))
                break
            else:
                opened.pop()
                if open_node is not None:
                    needed.append(open_node)
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


def _is_input(tensor: SymbolicTensor) -> bool:
    return isinstance(tensor.node.function, InputLayer)


def _own_input(tensor: SymbolicTensor) -> SymbolicTensor:
    """The tensor, if it comes from an `Input`, else one of that kind which does."""
    return tensor if _is_input(tensor) else InputLayer(batch_shape=tensor.shape, dtype=tensor.dtype).symbolic()


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
