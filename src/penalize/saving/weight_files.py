"""Weights alone, in the form that a file's name asks for: safetensors, `.weights.h5`, or torch's state_dict."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from penalize.arguments import as_path
from penalize.atomic import replacing
from penalize.errors import ArgumentError, FileError, MissingExtraError, NotBuiltError
from penalize.layers.layer import Layer
from penalize.saving.archive import open_regular_file
from penalize.saving.hdf5 import open_hdf5
from penalize.saving.legacy_h5 import read_legacy_weights
from penalize.saving.safetensors_files import read_safetensors
from penalize.saving.staging import Staged
from penalize.saving.torch_files import read_torch
from penalize.saving.weights_h5 import read_weights, write_weights

__all__ = ["load_weights", "save_weights"]

SUFFIXES = {".weights.h5": "hdf5", ".h5": "hdf5", ".safetensors": "safetensors", ".pt": "torch", ".pth": "torch"}


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
            staged = _stage(model, read_safetensors(file, str(path)), path)
        else:
            staged = _stage(model, read_torch(file, str(path)), path)
    return staged.commit(skip_mismatch)


def _place(filepath: str | os.PathLike[str]) -> tuple[Path, str]:
    path = as_path(filepath)
    if path.name and not path.suffix:
        path = path.with_name(f"{path.name}.safetensors")
    for suffix, kind in SUFFIXES.items():
        if path.name.endswith(suffix):
            return path, kind
    if path.name.endswith((".npz", ".json")):
        raise ArgumentError(f"{path}: {path.suffix} weights are not read: NumPy's archives may hold pickles")
    raise ArgumentError(f"{path}: weights are kept as .safetensors, .weights.h5, .pt or .pth, got {path.suffix!r}")


def _require_built(model: Any) -> None:
    if not isinstance(model, Layer):
        raise ArgumentError(f"the weights of a Layer or a Model are kept in files, got {type(model).__name__}")
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


def _safetensors() -> Any:
    try:
        import safetensors
        import safetensors.torch
    except ModuleNotFoundError as error:
        raise MissingExtraError('safetensors is not installed: pip install "penalize[files]"') from error
    return safetensors
