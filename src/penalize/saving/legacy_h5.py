"""Whole models in Keras's older form, one HDF5 file: read, not written."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from penalize.errors import ConfigError, naming
from penalize.layers.layer import Layer
from penalize.layers.tracking import weights_below
from penalize.saving.arrays import empty_for, fits, from_array
from penalize.saving.building import build_for, dry_run
from penalize.saving.hdf5 import Dataset, File
from penalize.saving.staging import Staged
from penalize.saving.tree import SavedWeight, groups_of
from penalize.saving.weights_h5 import put_states
from penalize.strict_json import parse

__all__ = ["load_legacy_model", "read_legacy_weights"]

WEIGHTS, OPTIMIZER = "model_weights", "optimizer_weights"
TOP_LEVEL = "top_level_model_weights"
"""Where the weights are that a model holds itself."""
MOST_NAMES = 100_000
# What Keras 2 wrote for the optimizer's own numbers.
OLD_NAMES = {"lr": "learning_rate"}


def load_legacy_model(file: File, compile: bool) -> Any:
    """The model in a legacy file, with its weights; compiled as `compile` asks."""
    text = file.attribute("", "model_config")
    if text is None:
        raise file.error("no model_config: it holds weights alone, to be loaded by load_weights")
    with naming(f"{file.what}: model_config"):
        config = parse(_as_text(text, "model_config"), "model_config")
        if not isinstance(config, dict):
            raise ConfigError(f"a model's config is a dict, got {type(config).__name__}")
        config = _modern(config)
        values = sum(dataset.size for path, dataset in file.datasets.items() if path.startswith(f"{WEIGHTS}/"))
        dry_run(config, values)
        model = build_for(config, values)
    read_legacy_weights(model, file, WEIGHTS).commit()
    training = file.attribute("", "training_config")
    if compile and training is not None:
        with naming(f"{file.what}: training_config"):
            model.compile_from_config(_compile_config(parse(_as_text(training, "training_config"), "training_config")))
        optimizer = model.make_optimizer()
        reason = None if optimizer is None else _read_optimizer(model, optimizer, file)
        if reason is not None:
            warnings.warn(f"{file.what}: the optimizer begins anew: {reason}", stacklevel=4)
    return model


def read_legacy_weights(model: Any, file: File, group: str) -> Staged:
    """The weights of each layer, matched by the order of layers; layers without weights are left out."""
    staged = Staged(file.what, model.name)
    names = _names(file, group, "layer_names")
    if len(set(names)) != len(names):
        raise file.error("layer_names names a layer twice")
    prefix = f"{group}/" if group else ""
    names = [name for name in names if f"{prefix}{name}" in file.groups]
    held = [(name, paths) for name in names if (paths := _names(file, f"{prefix}{name}", "weight_names"))]
    layers = [(layer, _weights_of(layer)) for layer in model.layers if isinstance(layer, Layer)]
    layers = [(layer, weights) for layer, weights in layers if weights]
    if len(held) != len(layers):
        staged.unlike("layers with weights", len(layers), len(held))
        return staged
    inside = {id(weight.tensor) for _, weights in layers for weight in weights}
    own = [weight for weight in _weights_of(model) if id(weight.tensor) not in inside]
    top = f"{prefix}{TOP_LEVEL}"
    layers.append((model, own))
    held.append((TOP_LEVEL, _names(file, top, "weight_names") if top in file.groups else []))
    for (layer, weights), (name, paths) in zip(layers, held, strict=True):
        _stage(staged, file, layer, weights, f"{prefix}{name}", paths)
    return staged


def _stage(staged: Staged, file: File, layer: Layer, weights: list[SavedWeight], group: str, paths: list[str]) -> None:
    if len(weights) != len(paths):
        staged.unlike(f"weights of {layer.name}", len(weights), len(paths))
        return
    for weight, path in zip(weights, paths, strict=True):
        dataset = file.datasets.get(f"{group}/{path}")
        if dataset is None:
            staged.missing(weight.label, weight.shape, f"{group}/{path}")
        elif dataset.shape != weight.shape:
            staged.unlike(weight.label, weight.shape, dataset.shape)
        elif not fits(dataset.dtype, weight.tensor.dtype):
            staged.unlike(weight.label, weight.tensor.dtype, dataset.dtype)
        else:
            staged.put(weight.tensor, weight.layout.to_torch(_read(file, dataset)))


def _weights_of(layer: Layer) -> list[SavedWeight]:
    """Those that are trained first, then the others, as the older form has them."""
    saved = {id(weight.tensor): weight for group in groups_of(layer) for weight in group.weights}
    weights = [saved[id(tensor)] for _, tensor in weights_below(layer) if id(tensor) in saved]
    return sorted(weights, key=lambda weight: not weight.tensor.requires_grad)


def _read_optimizer(model: Any, optimizer: torch.optim.Optimizer, file: File) -> str | None:
    if OPTIMIZER not in file.groups:
        return None
    names = _names(file, OPTIMIZER, "weight_names")
    datasets = [file.datasets.get(f"{OPTIMIZER}/{name}") for name in names]
    if any(dataset is None for dataset in datasets):
        return "a state that it names is missing"
    return put_states(model, optimizer, file, [dataset for dataset in datasets if dataset is not None])


def _names(file: File, group: str, attribute: str) -> list[str]:
    """A list of names; long ones are split over `attribute0`, `attribute1`, ..."""
    if group not in file.groups:
        raise file.error(f"no group {group[:80]!r}")
    names = file.attribute(group, attribute)
    if names is None:
        names, part = [], 0
        while (more := file.attribute(group, f"{attribute}{part}")) is not None:
            names.extend(more if isinstance(more, list) else [more])
            part += 1
    names = names.tolist() if isinstance(names, np.ndarray) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(names) > MOST_NAMES:
        raise file.error(f"{attribute} of {group[:80]!r} is no list of names")
    return names


def _modern(config: Any) -> Any:
    """Keras 2's `batch_input_shape` of a first layer as an InputLayer."""
    own = config.get("config")
    if config.get("class_name") != "Sequential" or not isinstance(own, dict | list):
        return config
    own = {"layers": own} if isinstance(own, list) else own
    layers = own.get("layers")
    if not isinstance(layers, list):
        return config
    changed: list[Any] = []
    for layer in layers:
        inner = layer.get("config") if isinstance(layer, dict) else None
        if isinstance(inner, dict) and "batch_input_shape" in inner:
            inner = dict(inner)
            shape = inner.pop("batch_input_shape")
            if layer.get("class_name") == "InputLayer":
                inner["batch_shape"] = shape
            elif not changed:
                changed.append({"class_name": "InputLayer", "config": {"batch_shape": shape}})
            layer = {**layer, "config": inner}
        changed.append(layer)
    return {**config, "config": {**own, "layers": changed}}


def _compile_config(training: Any) -> dict[str, Any]:
    if not isinstance(training, dict):
        raise ConfigError(f"a training config is a dict, got {type(training).__name__}")
    config = {key: value for key, value in training.items() if key not in ("optimizer_config", "sample_weight_mode")}
    optimizer = training.get("optimizer_config")
    if isinstance(optimizer, dict) and isinstance(optimizer.get("config"), dict):
        numbers = {OLD_NAMES.get(key, key): value for key, value in optimizer["config"].items()}
        optimizer = {**optimizer, "config": numbers}
    return {**config, "optimizer": optimizer}


def _as_text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be text, got {type(value).__name__}")
    return value


def _read(file: File, dataset: Dataset) -> torch.Tensor:
    array = empty_for(dataset.shape, dataset.dtype)
    file.read(dataset, array)
    return from_array(array)
