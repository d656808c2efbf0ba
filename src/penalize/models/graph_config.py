"""The config of a functional model in Keras's form: its layers, and which tensors each is called with."""

from __future__ import annotations

import graphlib
import operator
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from penalize.errors import ConfigError, nearest
from penalize.layers import InputLayer, Layer
from penalize.layers.described import entry_of, layer_from
from penalize.layers.naming import snake_case
from penalize.layers.symbolic import Node, SymbolicTensor, apply, find_symbolic, mapped
from penalize.models.graph import Graph

__all__ = ["config_of_graph", "graph_of_config"]

OPERATIONS: dict[str, Callable[..., Any]] = {
    "Add": operator.add,
    "Subtract": operator.sub,
    "Multiply": operator.mul,
    "Matmul": operator.matmul,
    "TrueDivide": operator.truediv,
    "FloorDivide": operator.floordiv,
    "Mod": operator.mod,
    "Power": operator.pow,
    "LogicalAnd": operator.and_,
    "LogicalOr": operator.or_,
    "LogicalNot": operator.invert,
    "Less": operator.lt,
    "LessEqual": operator.le,
    "Greater": operator.gt,
    "GreaterEqual": operator.ge,
    "Equal": operator.eq,
    "NotEqual": operator.ne,
    "Negative": operator.neg,
    "Absolute": operator.abs,
    "GetItem": operator.getitem,
}
"""Operators of symbolic tensors, by the names of Keras's classes."""

OF_OPERATIONS = "keras.src.ops.numpy"
ENTRY_KEYS = ("module", "class_name", "config", "registered_name", "build_config", "name", "inbound_nodes")
LAYER_KEYS = (*ENTRY_KEYS, "shared_object_id", "compile_config")

Place = tuple[str, int]


def config_of_graph(graph: Graph, held: Mapping[str, nn.Module | None]) -> dict[str, Any]:
    """The keys "layers", "input_layers" and "output_layers". Raises ConfigError for a function that has no config."""
    if graph.added:
        raise ConfigError(f"{graph.name}: add_loss of a symbolic tensor has no place in a config")
    writer = _Writer(graph, held)
    return {
        "layers": writer.entries(),
        "input_layers": writer.places(graph.inputs),
        "output_layers": writer.places(graph.outputs),
    }


class _Writer:
    def __init__(self, graph: Graph, held: Mapping[str, nn.Module | None]) -> None:
        self.graph = graph
        self.held = held
        self.names: dict[int, str] = {}
        self.nodes: dict[str, list[Node]] = {}
        used: Counter[str] = Counter(
            {graph.function(node, held).name: 1 for node in graph.nodes if isinstance(node.function, Layer)}
        )
        for node in graph.nodes:
            name = self._name(node, used)
            self.names[node.number] = name
            self.nodes.setdefault(name, []).append(node)
        self.history: dict[int, list[Any]] = {
            id(tensor): [name, index, position]
            for name, nodes in self.nodes.items()
            for index, node in enumerate(sorted(nodes, key=lambda node: node.number))
            for position, tensor in enumerate(find_symbolic([node.outputs]))
        }

    def entries(self) -> list[dict[str, Any]]:
        return [self._entry(name, sorted(nodes, key=lambda node: node.number)) for name, nodes in self.nodes.items()]

    def places(self, tensors: Any) -> Any:
        def place(tensor: SymbolicTensor) -> list[Any]:
            name, index, position = self.history[id(tensor)]
            return [name, index + _first_call(self.graph.function(self.nodes[name][0], self.held)), position]

        return _plain(mapped(tensors, place))

    def _name(self, node: Node, used: Counter[str]) -> str:
        function = self.graph.function(node, self.held)
        if isinstance(function, Layer):
            return function.name
        kind = next((name for name, known in OPERATIONS.items() if known is function), None)
        if kind is None:
            shown = getattr(function, "__name__", repr(function))
            raise ConfigError(
                f"{self.graph.name}: the function {shown[:80]!r} has no config: call it in a Layer of your own, and "
                "register that"
            )
        base = name = snake_case(kind)
        while used[name]:
            name = f"{base}_{used[base]}"
            used[base] += 1
        used[name] += 1
        return name

    def _entry(self, name: str, nodes: list[Node]) -> dict[str, Any]:
        function = self.graph.function(nodes[0], self.held)
        if isinstance(function, Layer):
            entry = entry_of(function)
        else:
            kind = next(kind for kind, known in OPERATIONS.items() if known is function)
            entry = {"module": OF_OPERATIONS, "class_name": kind, "config": {"name": name}, "registered_name": kind}
        calls = [] if isinstance(function, InputLayer) else [self._call(name, node) for node in nodes]
        return {**entry, "name": name, "inbound_nodes": calls}

    def _call(self, name: str, node: Node) -> dict[str, Any]:
        def written(value: Any) -> Any:
            if isinstance(value, SymbolicTensor):
                config = {
                    "shape": list(value.shape),
                    "dtype": str(value.dtype).removeprefix("torch."),
                    "keras_history": self.history[id(value)],
                }
                return {"class_name": "__keras_tensor__", "config": config}
            if isinstance(value, dict):
                return {key: written(item) for key, item in value.items()}
            if isinstance(value, list | tuple):
                return [written(item) for item in value]
            if isinstance(value, slice):
                config = {"start": value.start, "stop": value.stop, "step": value.step}
                return {"class_name": "__slice__", "config": config}
            if value is Ellipsis:
                return {"class_name": "__ellipsis__", "config": {}}
            if value is None or isinstance(value, bool | int | float | str):
                return value
            raise ConfigError(
                f"{self.graph.name}: {name} is called with {type(value).__name__}, which has no place in a config"
            )

        return {"args": written(node.args), "kwargs": written(node.kwargs)}


def graph_of_config(config: Mapping[str, Any], name: str) -> tuple[Any, Any]:
    """The symbolic inputs and outputs that a config describes. Raises ConfigError for one that does not fit."""
    for key in ("layers", "input_layers", "output_layers"):
        if key not in config:
            raise ConfigError(f"{name}: the config has no {key!r}")
    entries = config["layers"]
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ConfigError(f"{name}: layers must be a list of configs, got {entries!r:.80}")
    reader = _Reader(name)
    for entry in entries:
        reader.enter(entry)
    reader.run()
    return reader.tensors(config["input_layers"]), reader.tensors(config["output_layers"])


class _Reader:
    def __init__(self, name: str) -> None:
        self.name = name
        self.functions: dict[str, Any] = {}
        self.calls: dict[Place, Mapping[str, Any]] = {}
        self.outputs: dict[Place, list[SymbolicTensor]] = {}

    def enter(self, entry: Mapping[str, Any]) -> None:
        """The layer, or function, of one entry, and its calls."""
        for key in entry:
            if key not in LAYER_KEYS:
                raise ConfigError(
                    f"{self.name}: a layer has an unknown key {str(key)[:80]!r}: {nearest(str(key), LAYER_KEYS)}"
                )
        own = entry.get("config")
        name = entry.get("name", own.get("name") if isinstance(own, Mapping) else None)
        if not isinstance(name, str):
            raise ConfigError(f"{self.name}: a layer's name must be a string, got {name!r:.80}")
        if name in self.functions:
            raise ConfigError(f"{self.name}: two layers are named {name[:80]!r}")
        calls = entry.get("inbound_nodes", [])
        if not isinstance(calls, list):
            raise ConfigError(f"{self.name}: {name[:80]}: inbound_nodes must be a list, got {calls!r:.80}")
        function = self._function(entry, name)
        self.functions[name] = function
        if isinstance(function, InputLayer):
            self.outputs[name, 0] = [function.symbolic()]
        for index, call in enumerate(calls if not isinstance(function, InputLayer) else []):
            if not isinstance(call, Mapping) or set(call) != {"args", "kwargs"}:
                raise ConfigError(f"{self.name}: {name[:80]}: a call has args and kwargs, got {call!r:.80}")
            if not isinstance(call["args"], list) or not isinstance(call["kwargs"], Mapping):
                raise ConfigError(f"{self.name}: {name[:80]}: args must be a list and kwargs a dict, got {call!r:.80}")
            self.calls[name, index] = call

    def run(self) -> None:
        """Every call, after those whose outputs it takes."""
        needed = {place: self._needed(place) for place in self.calls}
        try:
            order = list(graphlib.TopologicalSorter(needed).static_order())
        except graphlib.CycleError as error:
            shown = " -> ".join(str(place[0])[:40] for place in error.args[1][:6])
            raise ConfigError(f"{self.name}: the layers call each other in a cycle: {shown}") from None
        for place in order:
            if place in self.outputs:
                continue
            if place not in self.calls:
                raise ConfigError(f"{self.name}: there is no call {place[1]} of a layer {place[0][:80]!r}")
            call, function = self.calls[place], self.functions[place[0]]
            args = [self._value(value) for value in call["args"]]
            # Keras writes what its own call got: no mask.
            given = {key: value for key, value in call["kwargs"].items() if key != "mask" or value is not None}
            kwargs = {key: self._value(value) for key, value in given.items()}
            if function is operator.getitem and len(args) == 2 and isinstance(args[1], list):
                args[1] = tuple(args[1])
            try:
                made = (
                    function(*args, **kwargs) if isinstance(function, Layer) else apply(function, tuple(args), kwargs)
                )
            except (TypeError, IndexError) as error:
                raise ConfigError(f"{self.name}: {place[0][:80]} cannot be called so: {error}") from error
            self.outputs[place] = find_symbolic([made])

    def tensors(self, places: Any) -> Any:
        """The tensors at [name, node, position], nested as these are."""
        if isinstance(places, Mapping):
            return {key: self.tensors(item) for key, item in places.items()}
        if not isinstance(places, list):
            raise ConfigError(f"{self.name}: a tensor is [layer, call, position], got {places!r:.80}")
        if not _is_place(places):
            return [self.tensors(item) for item in places]
        return self._tensor(places, _first_call(self.functions.get(places[0])))

    def _function(self, entry: Mapping[str, Any], name: str) -> Any:
        if entry.get("module") == OF_OPERATIONS:
            kind = entry.get("class_name")
            if kind not in OPERATIONS or entry.get("registered_name") not in (None, kind):
                raise ConfigError(f"{self.name}: unknown function {kind!r:.80}: {nearest(str(kind), OPERATIONS)}")
            return OPERATIONS[kind]
        layer = layer_from({key: value for key, value in entry.items() if key not in ("name", "inbound_nodes")})
        if layer.name != name:
            raise ConfigError(f"{self.name}: the layer {name[:80]!r} is named {layer.name[:80]!r} in its own config")
        return layer

    def _needed(self, place: Place) -> set[Place]:
        call = self.calls[place]
        found: set[Place] = {(place[0], place[1] - 1)} if place[1] else set()
        waiting: list[Any] = [call["args"], call["kwargs"]]
        while waiting:
            value = waiting.pop()
            if isinstance(value, Mapping) and value.get("class_name") == "__keras_tensor__":
                history = self._history(value)
                found.add((history[0], history[1]))
            elif isinstance(value, Mapping):
                waiting.extend(value.values())
            elif isinstance(value, list):
                waiting.extend(value)
        return found

    def _history(self, value: Mapping[str, Any]) -> Any:
        own = value.get("config")
        history = own.get("keras_history") if isinstance(own, Mapping) else None
        if not (isinstance(history, list) and _is_place(history)):
            raise ConfigError(f"{self.name}: a tensor's keras_history is [layer, call, position], got {history!r:.80}")
        return history

    def _value(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if not isinstance(value, Mapping):
            return value
        tag = value.get("class_name")
        if tag == "__keras_tensor__":
            return self._tensor(self._history(value))
        if tag == "__slice__" and isinstance(value.get("config"), Mapping):
            bounds = [value["config"].get(key) for key in ("start", "stop", "step")]
            if all(bound is None or type(bound) is int for bound in bounds):
                return slice(*bounds)
        if tag == "__ellipsis__":
            return Ellipsis
        if "class_name" in value:
            raise ConfigError(f"{self.name}: {tag!r:.80} cannot be an argument of a call")
        return {key: self._value(item) for key, item in value.items()}

    def _tensor(self, place: list[Any], first_call: int = 0) -> SymbolicTensor:
        made = self.outputs.get((place[0], place[1] - first_call), [])
        if not 0 <= place[2] < len(made):
            raise ConfigError(f"{self.name}: there is no output {place[2]} of call {place[1]} of {place[0][:80]!r}")
        tensor: SymbolicTensor = made[place[2]]
        return tensor


def _first_call(function: Any) -> int:
    """The number of the first call in "input_layers" and "output_layers", where Keras counts a graph's calls from 1."""
    return int(isinstance(getattr(function, "graph", None), Graph))


def _is_place(value: list[Any]) -> bool:
    return len(value) == 3 and isinstance(value[0], str) and type(value[1]) is int and type(value[2]) is int


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
