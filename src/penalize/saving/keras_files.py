"""`.keras` files, whole models in the form that Keras 3 reads and writes: a zip file of JSON and HDF5."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

from penalize.arguments import as_path
from penalize.atomic import replacing
from penalize.errors import ArgumentError, ConfigError, FileFormatError, naming
from penalize.layers.described import whole_entry_of
from penalize.layers.layer import Layer
from penalize.registry import custom_object_scope
from penalize.saving.archive import Member, members_of, open_regular_file, read_member, window
from penalize.saving.building import build_for, dry_run
from penalize.saving.hdf5 import open_hdf5
from penalize.saving.legacy_h5 import load_legacy_model
from penalize.saving.weights_h5 import read_optimizer, read_weights, write_weights
from penalize.strict_json import MOST_BYTES, parse

__all__ = ["load_model", "save_model"]

METADATA, CONFIG, WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
KERAS_VERSION = "3.15.1"
"""Whose form this is."""


def save_model(model: Any, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
    """Write a model into a `.keras` file: layers and regularizers, weights, settings of compile, optimizer.

    Keras 3.15.1 reads it, and `load_model`. The file is written beside and put in place at the end: whatever happens,
    the old one or the new one is there. Settings of compile that could not be read back (torch's optimizers and losses,
    functions that are not registered) are left out, with a warning.

    Raises ArgumentError for another suffix, FileError where there is a file already without `overwrite`, ConfigError
    for layers and regularizers that could not be read back. Nothing is written then.

    >>> import pathlib, tempfile, penalize
    >>> model = penalize.Sequential([penalize.Input((3,)), penalize.layers.Dense(2, kernel_regularizer="l1")])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.keras")
    ...     save_model(model, path)
    ...     load_model(path).layers[0].kernel_regularizer
    L1(l1=0.01)
    """
    path = as_path(filepath)
    if not path.name.endswith(".keras"):
        raise ArgumentError(
            f"a model is saved as .keras, got {str(path)!r:.80}; save_weights writes .weights.h5 and "
            ".safetensors, export .pt2 and .onnx"
        )
    if not isinstance(model, Layer) or not hasattr(model, "get_compile_config"):
        raise ArgumentError(f"a Model is saved as .keras, got {type(model).__name__}; save_weights takes any Layer")
    config = whole_entry_of(model)
    compiled = _compile_config(model)
    if compiled:
        config["compile_config"] = compiled
    texts = {METADATA: json.dumps(_metadata()), CONFIG: json.dumps(config)}
    parse(texts[CONFIG], CONFIG)
    with replacing(path, overwrite=overwrite) as beside, tempfile.TemporaryFile(dir=beside.parent) as weights:
        write_weights(model, weights, model.optimizer_for_files() if compiled else None)
        weights.seek(0)
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as archive:
            for name, text in texts.items():
                archive.writestr(name, text)
            with archive.open(WEIGHTS, "w", force_zip64=True) as member:
                shutil.copyfileobj(weights, member, 2**20)


def load_model(
    filepath: str | os.PathLike[str], custom_objects: Mapping[str, Any] | None = None, compile: bool = True
) -> Any:
    """The model in a `.keras` file, or in a legacy `.h5` file of Keras, with its weights.

    With `compile`, it is compiled as it was, and its optimizer goes on where it stopped. Nothing in a file is executed,
    imported or followed elsewhere: classes are chosen among the built-ins, what is registered and `custom_objects`;
    sizes are compared with the weights in the file before they take memory. Weights that are NaN or infinite are loaded
    as they are.

    Raises FileError, FileFormatError, ConfigError, UnknownNameError, ArgumentError or ShapeError, which name the file
    and the part of it. Source: Keras 3.15.1, `keras.saving.load_model`.
    """
    with open_regular_file(filepath) as file, custom_object_scope(custom_objects):
        what = os.fspath(filepath)
        beginning = file.read(8)
        file.seek(0)
        if beginning.startswith(b"\x89HDF"):
            with open_hdf5(file, str(what)) as handle:
                return load_legacy_model(handle, compile)
        members = members_of(file, str(what))
        return _load(file, _checked(members, str(what)), str(what), compile)


def _load(file: BinaryIO, members: dict[str, Member], what: str, compile: bool) -> Any:
    with naming(f"{what}: {CONFIG}"):
        config = parse(read_member(file, members[CONFIG], MOST_BYTES, what), CONFIG)
    if METADATA in members:
        metadata = parse(read_member(file, members[METADATA], MOST_BYTES, what), f"{what}: {METADATA}")
        _warn_about_old_activity(config, metadata)
    with open_hdf5(window(file, members[WEIGHTS], what), f"{what}: {WEIGHTS}") as weights:
        with naming(f"{what}: {CONFIG}"):
            if not isinstance(config, dict):
                raise ConfigError(f"a model's config is a dict, got {type(config).__name__}")
            values = sum(each.size for path, each in weights.datasets.items() if not path.startswith("optimizer/"))
            dry_run(config, values)
            model = build_for(config, values)
        read_weights(model, weights, at_once=True).commit()
        compiled = config.get("compile_config")
        if compile and compiled:
            with naming(f"{what}: {CONFIG}"):
                if not isinstance(compiled, dict):
                    raise ConfigError(f"compile_config must be a dict, got {compiled!r:.80}")
                model.compile_from_config(compiled)
            optimizer = model.make_optimizer()
            reason = None if optimizer is None else read_optimizer(model, optimizer, weights)
            if reason is not None and _has_states(weights):
                warnings.warn(f"{what}: the optimizer begins anew: {reason}", stacklevel=3)
    return model


def _has_states(weights: Any) -> bool:
    return any(path.startswith("optimizer/") for path in weights.datasets)


def _checked(members: dict[str, Member], what: str) -> dict[str, Member]:
    for name in (CONFIG, WEIGHTS):
        if name not in members:
            held = ", ".join(repr(member[:40]) for member in list(members)[:5])
            raise FileFormatError(f"{what}: there is no member {name!r}; only HDF5 weights are read; it holds {held}")
    for name in members:
        if name not in (METADATA, CONFIG, WEIGHTS) and not name.startswith("assets/"):
            raise FileFormatError(f"{what}: the member {name[:80]!r} does not belong into a .keras file")
    return members


def _compile_config(model: Any) -> dict[str, Any] | None:
    try:
        compiled: dict[str, Any] | None = model.get_compile_config()
    except ConfigError as error:
        warnings.warn(f"{model.name}: the settings of compile are not saved: {error}", stacklevel=4)
        return None
    return compiled


def _metadata() -> dict[str, str]:
    return {
        "keras_version": KERAS_VERSION,
        "date_saved": datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S"),
        "penalize_version": importlib.metadata.version("penalize"),
    }


def _warn_about_old_activity(config: Any, metadata: Any) -> None:
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    parts = version.split(".") if isinstance(version, str) else []
    old = len(parts) > 1 and parts[0] == "3" and parts[1].isdecimal() and int(parts[1][:4]) < 14
    if old and _has_activity(config):
        warnings.warn(
            f"Keras {'.'.join(parts)[:20]} did not divide activity penalties by the batch size, as Keras 3.14 and "
            "penalize do: their strengths mean less now, by the batch size",
            stacklevel=4,
        )


def _has_activity(config: Any) -> bool:
    if isinstance(config, dict):
        return bool(config.get("activity_regularizer")) or any(_has_activity(item) for item in config.values())
    return isinstance(config, list) and any(_has_activity(item) for item in config)
