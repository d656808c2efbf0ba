"""Exporting a model as one file that runs without this package: a torch.export program, or ONNX."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from penalize.arguments import as_path
from penalize.atomic import replacing
from penalize.errors import ArgumentError, ExportError, MissingExtraError
from penalize.layers import Input
from penalize.layers.symbolic import SymbolicTensor, find_symbolic, mapped, trial
from penalize.placement import records_below
from penalize.saving.tracing import Traced, layer_of, summary, trace, zeros_like

__all__ = ["export_model"]

SUFFIXES = {"torch": ".pt2", "onnx": ".onnx"}

# torch.onnx 2.13 keeps larger weights in a second file: its own limit, below the 2 GiB of the format.
LARGEST_ONNX = 1536 * 1024**2


def export_model(
    model: Any,
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    example_inputs: Any = None,
    overwrite: bool = True,
    verbose: bool | None = None,
) -> None:
    """Write what a model computes in evaluation mode to a file that is read without this package.

    "model.pt2" is a program of `torch.export`: `torch.export.load(path).module()(x)`, with torch alone. "model.onnx" is
    for `onnxruntime` and others. Penalties, constraints and dropout leave no trace in either.

    Parameters
    ----------
    format
        "torch" or "onnx", for a path with another suffix than .pt2 and .onnx, which say it themselves.
    example_inputs
        What the model is called with: arrays or tensors, of which dtypes and shapes count, or `Input`s; nested as the
        model takes them. A tuple of all arguments for a `call` with several that must be given. Not needed for a model
        that begins with `Input`, or that was called before; its integers and booleans are taken as they came then, its
        floating inputs in the model's dtype.
    overwrite
        False refuses to replace a file. Source: Keras 3.15.1 replaces it, `keras.Model.export`.
    verbose
        True prints a line when the file is written.

    The batch size is unknown to the file, and takes any size from 1 on, unless an Input fixes it; so is every other
    axis that an Input leaves open (None). Inputs and outputs are nested in a .pt2 as the model's are. In ONNX they are
    in order: inputs under the names of the `Input`s, the keys of a dict or the name of the argument; outputs under the
    keys of a dict, the names of the layers that give them, or "outputs". A .pt2 runs on the device that the weights
    are on.

    A layer with `stateful=True` begins with zeros at every call. Of a recurrent layer torch 2.13 writes the steps one
    by one: the number of timesteps must be known. What a layer's Python code chooses by sizes is chosen for good: other
    sizes are refused by a .pt2, and not seen by ONNX. Layers that compute in bfloat16 become ONNX's operations on it,
    most of which onnxruntime 1.31 lacks on the CPU. The weights of an ONNX file are at most 1.5 GiB.

    The file appears whole or not at all (`penalize.atomic`). The model is afterwards what it was: modes, states,
    recorded penalties. One that is not built yet is built.

    Raises
    ------
    ArgumentError
        For another format or suffix, and where the inputs are not known.
    ExportError
        By the names of the model and the layer, for what torch or ONNX cannot express.
    FileError
        For a path that cannot be written, and an existing file without `overwrite`.
    MissingExtraError
        For ONNX without the extra "export".

    >>> import tempfile, penalize
    >>> model = penalize.Sequential([penalize.Input((3,)), penalize.layers.Dense(1, activity_regularizer="l1")])
    >>> x = torch.ones(4, 3)
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     export_model(model, f"{directory}/model.pt2")
    ...     program = torch.export.load(f"{directory}/model.pt2")
    >>> torch.equal(program.module()(x), model(x))
    True
    """
    chosen = _format(path, format)
    if chosen == "onnx":
        _require_onnx()
        _require_small(model)
    arguments = _inputs(model, example_inputs)
    _build(model, arguments)
    with replacing(path, overwrite=overwrite) as file:
        traced = trace(model, arguments)
        if chosen == "torch":
            _write_torch(model, traced, file)
        else:
            _write_onnx(model, arguments, traced, file)
    if verbose:
        sys.stdout.write(f"{model.name}: exported to {os.fspath(path)}\n")


def _format(path: str | os.PathLike[str], given: Any) -> str:
    if given is not None:
        if given not in SUFFIXES:
            raise ArgumentError(f'format must be "torch" or "onnx", got {given!r:.80}')
        return str(given)
    suffix = as_path(path).suffix
    for name, own in SUFFIXES.items():
        if suffix == own:
            return name
    raise ArgumentError(
        f"a path to export to ends with .pt2 (torch.export) or .onnx, got {os.fspath(path)!r}; or give "
        'format="torch" or format="onnx"'
    )


# What the model is called with.


def _inputs(model: Any, given: Any) -> list[Any]:
    """The arguments of the call as symbolic tensors, nested in lists, tuples and dicts."""
    required = _required(model)
    if given is not None:
        items = given if len(required) > 1 and isinstance(given, tuple) else (given,)
        names = required if len(items) == len(required) else [f"inputs_{index}" for index in range(len(items))]
        return [_symbolic(item, name, model) for item, name in zip(items, names, strict=True)]
    if model.graph is not None:
        return [model.graph.inputs]
    first = getattr(model, "input_layer", None)
    if first is not None:
        dtypes = None if first.dtype_given else model.build_dtypes
        dtype = _dtype(dtypes if isinstance(dtypes, torch.dtype) else None, first.dtype)
        return [Input(batch_shape=first.batch_shape, dtype=dtype, name=first.name)]
    if len(required) != 1:
        raise ArgumentError(f"{model.name}: call takes {', '.join(required)}: give example_inputs, a tuple of them")
    if not _is_nest_of_shapes(model.build_shape):
        raise ArgumentError(
            f"{model.name}: the shapes of its inputs are not known: begin it with an Input, call it once with tensors, "
            "or give example_inputs"
        )
    return [_from_shapes(model.build_shape, model.build_dtypes, required[0], model.variable_dtype)]


def _required(model: Any) -> list[str]:
    """The arguments of a model's `call` that must be given."""
    if model.graph is not None:
        return ["inputs"]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(model.call).parameters.values()
    return [p.name for p in parameters if p.kind in positional and p.default is p.empty and p.name != "training"]


def _symbolic(value: Any, name: str, model: Any) -> Any:
    """Symbolic tensors for arrays, tensors and symbolic tensors, with a batch size that is unknown."""
    if isinstance(value, SymbolicTensor):
        return value
    if isinstance(value, dict):
        return {key: _symbolic(item, str(key), model) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_symbolic(item, f"{name}_{index}", model) for index, item in enumerate(value)]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, np.ndarray):
        dtype = _dtype(torch.from_numpy(np.empty(0, value.dtype)).dtype, model.variable_dtype)
    elif isinstance(value, torch.Tensor):
        dtype = value.dtype
    else:
        raise ArgumentError(f"{model.name}: example_inputs must be arrays, tensors or Inputs, got {value!r:.80}")
    return Input(batch_shape=_of_any_batch(value.shape), dtype=dtype, name=name)


def _of_any_batch(shape: Sequence[int | None]) -> tuple[int | None, ...]:
    return (None, *shape[1:]) if len(shape) else ()


def _dtype(seen: torch.dtype | None, floating: torch.dtype) -> torch.dtype:
    """The dtype of inputs, of which some came in this one: floating values are taken in the model's."""
    return floating if seen is None or seen.is_floating_point else seen


def _is_shape(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(size is None or type(size) is int for size in value)


def _is_nest_of_shapes(value: Any) -> bool:
    parts = list(value.values()) if isinstance(value, dict) else value
    return _is_shape(value) or (isinstance(parts, list | tuple) and all(_is_nest_of_shapes(part) for part in parts))


def _from_shapes(shape: Any, dtypes: Any, name: str, floating: torch.dtype) -> Any:
    """Symbolic tensors for the shapes, and the dtypes if they are known, that a model was built for."""
    if _is_shape(shape):
        return Input(batch_shape=_of_any_batch(shape), dtype=_dtype(dtypes, floating), name=name)
    if isinstance(shape, dict):
        return {key: _from_shapes(own, dtypes and dtypes[key], str(key), floating) for key, own in shape.items()}
    return [_from_shapes(own, dtypes and dtypes[index], f"{name}_{index}", floating) for index, own in enumerate(shape)]


def _build(model: Any, arguments: Sequence[Any]) -> None:
    """Make the weights by a call on zeros, where they are not made yet."""
    if model.built:
        return
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad(), trial():
            model(*mapped(list(arguments), zeros_like))
    finally:
        for module, mode in modes:
            module.training = mode
        for record in records_below(model):
            record.clear()


# The files.


def _write_torch(model: Any, traced: Traced, file: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
        with file.open("wb") as opened:
            try:
                torch.export.save(traced.program, opened)
            except OSError:
                raise
            except Exception as error:
                raise ExportError(f"{model.name}: torch cannot write its program: {summary(error)}") from error


def _write_onnx(model: Any, arguments: Sequence[Any], traced: Traced, file: Path) -> None:
    tensors = find_symbolic(arguments)
    names = _unique([*(_function_name(tensor) for tensor in tensors), *_output_names(model, traced.outputs)])
    inputs, outputs = names[: len(tensors)], names[len(tensors) :]
    # A batch size that an input shares with the first one is called like it.
    rest = iter(inputs)
    axes = mapped(list(arguments), lambda tensor: _axis_names(tensor, next(rest), inputs[0]))
    with _quiet():
        try:
            program = torch.onnx.export(
                traced.program,
                dynamo=True,
                verbose=False,
                input_names=inputs,
                output_names=outputs,
                dynamic_shapes=(tuple(axes),),
            )
            assert program is not None
            graphs: list[Any] = [program.model.graph, *program.model.functions.values()]
            for node in (node for graph in graphs for node in graph.all_nodes()):
                node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)
            written = program.model_proto.SerializeToString()
        except Exception as error:
            layer = layer_of(error)
            where = f"{layer} cannot be expressed in ONNX" if layer else "it cannot be expressed in ONNX"
            innermost: BaseException = error
            while innermost.__cause__ is not None:
                innermost = innermost.__cause__
            raise ExportError(f"{model.name}: {where}: {summary(innermost)}") from error
    file.write_bytes(written)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without torch.onnx's notices of libraries that nobody asked for, and warnings about torch itself."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
            # Two axes of one size get one name.
            warnings.filterwarnings("ignore", message=".*The axis name: .* will not be used")
            yield
    finally:
        logger.setLevel(level)


def _require_onnx() -> None:
    for library in ("onnx", "onnxscript"):
        try:
            importlib.import_module(library)
        except ModuleNotFoundError as error:
            if error.name and error.name.split(".")[0] in ("onnx", "onnxscript", "onnx_ir"):
                raise MissingExtraError(f'{error.name} is not installed: pip install "penalize[export]"') from error
            raise


def _require_small(model: Any) -> None:
    size = sum(tensor.numel() * tensor.element_size() for tensor in {*model.parameters(), *model.buffers()})
    if size > LARGEST_ONNX:
        raise ExportError(
            f"{model.name}: its weights take {size:,} bytes, and one ONNX file holds {LARGEST_ONNX:,}: export it to a "
            ".pt2 file"
        )


def _axis_names(tensor: SymbolicTensor, name: str, first: str) -> dict[int, str]:
    unknown = [axis for axis, size in enumerate(tensor.shape) if size is None]
    return {axis: "batch" if axis == 0 and name == first else f"{name}_axis_{axis}" for axis in unknown}


def _output_names(model: Any, outputs: Any) -> list[str]:
    """A dict's keys, the names of the layers that give the outputs, or "outputs" and a number."""
    if model.graph is not None and not isinstance(outputs, dict):
        return [_function_name(tensor) for tensor in find_symbolic([model.graph.outputs])]
    return _leaves(outputs, "outputs")


def _function_name(tensor: SymbolicTensor) -> str:
    function = tensor.node.function
    return str(getattr(function, "name", None) or getattr(function, "__name__", "outputs"))


def _leaves(outputs: Any, name: str) -> list[str]:
    if isinstance(outputs, dict):
        return [leaf for key, item in outputs.items() for leaf in _leaves(item, str(key))]
    if isinstance(outputs, list):
        return [leaf for index, item in enumerate(outputs) for leaf in _leaves(item, f"{name}_{index}")]
    return [name]


def _unique(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that have come before."""
    found: list[str] = []
    for name in names:
        own, count = name, 1
        while own in found:
            own, count = f"{name}_{count}", count + 1
        found.append(own)
    return found
