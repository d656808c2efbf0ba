"""Tracing a model's call with `torch.export`: its graph for unknown sizes, and which layer stands in the way."""

from __future__ import annotations

import contextlib
import re
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental.symbolic_shapes import is_concrete_int

from penalize.errors import ExportError, PenalizeError
from penalize.layers.symbolic import SymbolicTensor, find_symbolic, mapped, trial

__all__ = ["Traced", "kind_of", "layer_of", "nested", "summary", "trace", "unchanged", "zeros_like"]

# What stands for unknown sizes while the graph is made: such as are seldom sizes of weights, and can be halved often.
BATCH, SIZE = 5, 96
# Where that is too small for a layer, it is tried with this many times as much.
LARGER = 16

ITS_OWN_BUSINESS = (
    # Attributes that a layer sets in its call get back what they were.
    r"The tensor attributes? .* assigned during export",
    # torch 2.13, about itself.
    r".*LeafSpec.* is deprecated",
)


class _OneSizeError(ExportError):
    """A size that was to stay unknown is taken for a fixed one."""


class Traced:
    """The program of a model, and the nested structure of its outputs, each True."""

    def __init__(self, program: ExportedProgram, outputs: Any) -> None:
        self.program = program
        self.outputs = outputs


def trace(model: nn.Module, inputs: Sequence[Any]) -> Traced:
    """The graph of `model(*inputs)` in evaluation mode; inputs are symbolic tensors, nested in lists, tuples and dicts.

    Sizes that are None are unknown to the graph, too. The model is afterwards what it was, to the attributes of all
    modules in it. The graph has no operation that no output needs, and names no file of this machine.

    Raises ExportError, which names the layer, when there is no such graph.
    """
    try:
        return _traced(model, inputs, 1)
    except _OneSizeError as error:
        raise ExportError(str(error)) from error.__cause__
    except ExportError:
        # As symbolic tensors are tried: layers may be larger than the sizes so far.
        if all(None not in tensor.shape[1:] for tensor in find_symbolic(inputs)):
            raise
        with contextlib.suppress(ExportError):
            return _traced(model, inputs, LARGER)
        raise


def _traced(model: nn.Module, inputs: Sequence[Any], larger: int) -> Traced:
    device = next((tensor.device for tensor in [*model.parameters(), *model.buffers()]), None)
    values = mapped(list(inputs), lambda tensor: zeros_like(tensor, device, larger))
    axes = mapped(list(inputs), _dynamic_axes)
    with unchanged(model), _Watch(model) as watch:
        model.eval()
        try:
            with trial(), torch.no_grad(), warnings.catch_warnings():
                for message in ITS_OWN_BUSINESS:
                    warnings.filterwarnings("ignore", message=message)
                program = torch.export.export(model, tuple(values), dynamic_shapes=(tuple(axes),))
        except PenalizeError:
            raise
        except Exception as error:
            raise watch.explained(error) from error
    for guard in getattr(program, "_guards_code", []):
        # An axis of which a layer has fixed what it computes from it, such as twice its size.
        if re.search(r"== [1-9]\d*$", guard):
            raise ExportError(
                f"{kind_of(model)}: a size that was to stay unknown can only be one number, as something computed from "
                f"it was taken for fixed: {guard[:200]}"
            )
    for graph in (part.graph for part in program.graph_module.modules() if isinstance(part, torch.fx.GraphModule)):
        graph.eliminate_dead_code()
        for node in graph.nodes:
            node.meta.pop("stack_trace", None)
    program.graph_module.recompile()
    return Traced(program, watch.outputs)


def zeros_like(tensor: SymbolicTensor, device: Any = None, larger: int = 1) -> torch.Tensor:
    """Zeros that stand for a symbolic tensor, with the sizes that unknown ones are traced with."""
    sizes = [(BATCH if axis == 0 else SIZE * larger) if n is None else n for axis, n in enumerate(tensor.shape)]
    return torch.zeros(sizes, dtype=tensor.dtype, device=device)


def _dynamic_axes(tensor: SymbolicTensor) -> dict[int, Any]:
    return {axis: Dim.DYNAMIC for axis, size in enumerate(tensor.shape) if size is None}


@contextlib.contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Modes, states and all other attributes of all modules are afterwards what they were."""
    before = [(vars(module), dict(vars(module))) for module in model.modules()]
    try:
        yield
    finally:
        for own, attributes in before:
            for name in own.keys() - attributes.keys():
                del own[name]
            own.update(attributes)


def kind_of(module: Any) -> str:
    """A module's name, if it has one, and class, for a message."""
    kind = type(module).__name__
    name = getattr(module, "name", None)
    return f"{name} ({kind})" if isinstance(name, str) else kind


class _Watch:
    """Follows a call through the modules, to know which one a failure is from, and the structure of the outputs."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.running: list[nn.Module] = []
        self.sizes: list[tuple[int, Any]] = []
        self.fixed: tuple[int, nn.Module] | None = None
        self.outputs: Any = None
        self.handles: list[Any] = []

    def __enter__(self) -> _Watch:
        for module in self.model.modules():
            self.handles.append(module.register_forward_pre_hook(self._enter, prepend=True))
            self.handles.append(module.register_forward_hook(self._leave))
        return self

    def __exit__(self, *_: Any) -> None:
        for handle in self.handles:
            handle.remove()

    def _enter(self, module: nn.Module, args: Any) -> None:
        if not self.running:
            self.sizes = [
                (axis, size)
                for tensor in _tensors(args)
                for axis, size in enumerate(tensor.shape)
                if not is_concrete_int(size)
            ]
        self._look()
        self.running.append(module)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._look()
        self.running.pop()
        if not self.running:
            self.outputs = nested(output, torch.Tensor, lambda tensor: True)

    def _look(self) -> None:
        """Note the module that runs when an unknown size is first found to have become a known one."""
        if self.fixed is None and self.running:
            for axis, size in self.sizes:
                if is_concrete_int(size):
                    self.fixed = (axis, self.running[-1])
                    return

    def explained(self, error: Exception) -> ExportError:
        """The error to raise for one of torch, or of a layer."""
        name = getattr(self.model, "name", type(self.model).__name__)
        self._look()
        if self.fixed is not None:
            axis, module = self.fixed
            what = "batch size" if axis == 0 else f"size of axis {axis} of the inputs"
            way = "Input(batch_size=...)" if axis == 0 else "an Input of known size"
            return _OneSizeError(
                f"{name}: {kind_of(module)} can be exported only for one {what}, as it, or torch's way to write it "
                f"into a graph, takes that for a fixed number: give {way}"
            )
        where = f"{kind_of(self.running[-1])} cannot be exported" if self.running else "the model cannot be exported"
        return ExportError(f"{name}: {where}: {summary(error)}")


def summary(error: BaseException) -> str:
    """The first line that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def layer_of(error: BaseException | None) -> str | None:
    """The path and class of the module whose node of a graph an error of torch's is about, if that can be found."""
    while error is not None:
        for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
            node = frame.f_locals.get("node")
            if isinstance(node, torch.fx.Node) and node.meta.get("nn_module_stack"):
                path, kind = list(node.meta["nn_module_stack"].values())[-1]
                kind = kind if isinstance(kind, str) else kind.__name__
                return f"{path} ({kind.rpartition('.')[2]})"
        error = error.__cause__
    return None


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for item in value for tensor in _tensors(item)] if isinstance(value, list | tuple) else []


def nested(value: Any, leaf: type, function: Callable[[Any], Any]) -> Any:
    """Nested lists, tuples and dicts with `function` of each leaf; tuples as lists."""
    if isinstance(value, leaf):
        return function(value)
    if isinstance(value, dict):
        return {key: nested(item, leaf, function) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [nested(item, leaf, function) for item in value]
    return value
