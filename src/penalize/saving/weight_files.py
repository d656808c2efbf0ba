"""Weights alone, in the form that a file's name asks for: safetensors, `.weights.h5`, or torch's state_dict."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from penalize.atomic import replacing
from penalize.errors import ArgumentError, FileError, FileFormatError, MissingExtraError, NotBuiltError
from penalize.layers.layer import Layer
from penalize.saving.archive import members_of, open_regular_file
from penalize.saving.hdf5 import open_hdf5
from penalize.saving.legacy_h5 import read_legacy_weights
from penalize.saving.staging import Staged
from penalize.saving.weights_h5 import read_weights, write_weights
from penalize.strict_json import MOST_BYTES, parse

__all__ = ["load_weights", "save_weights"]

SUFFIXES = {".weights.h5": "hdf5", ".h5": "hdf5", ".safetensors": "safetensors", ".pt": "torch", ".pth": "torch"}
HEADER_KEYS = {"dtype", "shape", "data_offsets"}
MOST_RANK = 32


def save_weights(model: Layer, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
    """Write all weights of a layer or model into a file of the form that its suffix names.

    `.safetensors` (also for a path without a suffix, to which it is added) and `.pt`/`.pth`: the state_dict, names and
    layouts as in torch. `.weights.h5`: Keras's names and layouts, which Keras 3 reads. The file is put in place at the
    end, as `save_model` does.

    Raises ArgumentError for another suffix, FileError where there is a file already without `overwrite`, NotBuiltError
    for a model that is not built.

    >>> import pathlib, tempfile, penalize
    >>> model = penalize.Sequential([penalize.Input((3,)), penalize.layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     save_weights(model, path)
    ...     load_weights(model, path)
    []
    """
    path, kind = _place(filepath)
    _require_built(model)
    if kind == "hdf5" and not path.name.endswith(".weights.h5"):
        raise ArgumentError(f"weights in HDF5 are saved as .weights.h5, as Keras asks, got {str(path)!r:.80}")
    with replacing(path, overwrite=overwrite) as beside:
        if kind == "hdf5":
            write_weights(model, beside)
        elif kind == "safetensors":
            library = _safetensors()
            try:
                library.torch.save_file(_apart(model.state_dict()), beside, metadata={"format": "pt"})
            except library.SafetensorError as error:
                raise FileError(f"{path}: {error}") from error
        else:
            # Given a path, torch would write its name into the file; and it hides what the system says.
            with beside.open("wb") as opened:
                torch.save(dict(model.state_dict()), opened)


def load_weights(model: Layer, filepath: str | os.PathLike[str], skip_mismatch: bool = False) -> list[str]:
    """Set all weights of a layer or model from a file that `save_weights`, Keras or torch wrote; what was skipped.

    With `skip_mismatch`, weights that the file does not have, or in another shape, stay as they are, with a warning.
    NaN and infinite weights are loaded as they are. Of torch's files only those are read that hold tensors by names,
    and nothing else.

    Raises ShapeError, which names each weight that does not fit with its expected and found shape, FileError and
    FileFormatError; the model is then as it was.
    """
    path, kind = _place(filepath)
    _require_built(model)
    with open_regular_file(path) as file:
        if kind == "hdf5":
            with open_hdf5(file, str(path)) as handle:
                if handle.attribute("", "layer_names") is not None:
                    staged = read_legacy_weights(model, handle, "")
                elif "model_weights" in handle.groups:
                    staged = read_legacy_weights(model, handle, "model_weights")
                else:
                    staged = read_weights(model, handle)
        elif kind == "safetensors":
            staged = _stage(model, _read_safetensors(file, path), path)
        else:
            staged = _stage(model, _read_torch(file, path), path)
    return staged.commit(skip_mismatch)


def _place(filepath: str | os.PathLike[str]) -> tuple[Path, str]:
    if not isinstance(filepath, str | os.PathLike):
        raise ArgumentError(f"a path is a string or a Path, got {type(filepath).__name__}: {filepath!r:.80}")
    path = Path(filepath)
    if not path.suffix:
        path = path.with_name(f"{path.name}.safetensors")
    for suffix, kind in SUFFIXES.items():
        if path.name.endswith(suffix):
            return path, kind
    if path.name.endswith((".npz", ".json")):
        raise ArgumentError(f"{path}: {path.suffix} weights are not read: NumPy's archives may hold pickles")
    raise ArgumentError(f"{path}: weights are kept as .safetensors, .weights.h5, .pt or .pth, got {path.suffix!r}")


def _require_built(model: Layer) -> None:
    for layer in model.modules():
        if isinstance(layer, Layer) and not layer.built:
            raise NotBuiltError(f"{layer.name} is not built: call the model once, or begin with an Input")


def _apart(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors in order and each with memory of its own, which safetensors asks for; a tied one stands there twice."""
    seen: set[int] = set()
    found = {}
    for name, tensor in state.items():
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        found[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    return found


def _stage(model: Layer, state: Mapping[str, torch.Tensor], path: Path) -> Staged:
    staged = Staged(str(path), model.name)
    own = model.state_dict(keep_vars=True)
    for name, weight in own.items():
        if not isinstance(weight, torch.Tensor):
            continue
        found = state.get(name)
        if found is None:
            staged.missing(name, tuple(weight.shape), name)
        elif found.shape != weight.shape:
            staged.unlike(name, tuple(weight.shape), tuple(found.shape))
        elif found.dtype != weight.dtype and not (found.is_floating_point() and weight.is_floating_point()):
            staged.unlike(name, weight.dtype, found.dtype)
        else:
            staged.put(weight, found)
    staged.left_over([name for name in state if name not in own])
    return staged


def _read_safetensors(file: BinaryIO, path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, its header checked by the strict parser, and then by the library."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    beginning = file.read(8)
    length = struct.unpack("<Q", beginning)[0] if len(beginning) == 8 else 0
    if not 2 <= length <= min(size - 8, MOST_BYTES):
        raise FileFormatError(f"{path}: no safetensors file, or a broken one: a header of {length} bytes")
    try:
        header = parse(file.read(length), f"{path}: the header")
    except ValueError as error:
        raise FileFormatError(str(error)) from error
    if not isinstance(header, dict):
        raise FileFormatError(f"{path}: the header is no object")
    places: set[tuple[int, int]] = set()
    for name, entry in header.items():
        shown = repr(name[:80])
        if name == "__metadata__":
            continue
        if not isinstance(entry, dict) or set(entry) != HEADER_KEYS:
            raise FileFormatError(f"{path}: {shown} must have {', '.join(sorted(HEADER_KEYS))}, got {entry!r:.80}")
        shape, offsets = entry["shape"], entry["data_offsets"]
        if not _are_sizes(shape) or len(shape) > MOST_RANK:
            raise FileFormatError(f"{path}: {shown} has no shape that a tensor can have: {shape!r:.80}")
        if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
            raise FileFormatError(f"{path}: {shown} has no place in the file: {offsets!r:.80}")
        if offsets[0] != offsets[1] and tuple(offsets) in places:
            raise FileFormatError(f"{path}: {shown} lies where another tensor does")
        places.add((offsets[0], offsets[1]))
    library = _safetensors()
    try:
        with library.safe_open(path, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  it is no dict
    except (library.SafetensorError, OSError, RuntimeError, ValueError, KeyError, MemoryError) as error:
        raise FileFormatError(f"{path}: no safetensors file, or a broken one: {str(error)[:160]}") from error


def _read_torch(file: BinaryIO, path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file of `torch.save`: nothing else is unpickled."""
    members = members_of(file, str(path))
    if any(info.compress_type for info in members.values()):
        raise FileFormatError(f"{path}: torch's files hold no compressed members")
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise FileFormatError(f"{path}: no state_dict of torch, or a broken one: {_first_line(error)}") from error
    if not isinstance(state, Mapping):
        raise FileFormatError(f"{path}: a state_dict is a dict of tensors, got {type(state).__name__}")
    checked: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        shown = repr(name)[:80]
        if not isinstance(name, str):
            raise FileFormatError(f"{path}: a weight's name is a string, got {shown}")
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
            raise FileFormatError(f"{path}: {shown} must be a tensor, got {type(tensor).__name__}")
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise FileFormatError(f"{path}: {shown} is no dense tensor")
        needed = tensor.numel() * tensor.element_size()
        if needed > tensor.untyped_storage().nbytes() or any(
            stride == 0 and size > 1 for stride, size in zip(tensor.stride(), tensor.shape, strict=True)
        ):
            raise FileFormatError(f"{path}: {shown} claims more values than it holds")
        checked[name] = tensor.detach()
    return checked


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 2**63 for size in value)


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160] if str(error).strip() else ''}"


def _safetensors() -> Any:
    try:
        import safetensors
        import safetensors.torch
    except ModuleNotFoundError as error:
        raise MissingExtraError('safetensors is not installed: pip install "penalize[files]"') from error
    return safetensors
