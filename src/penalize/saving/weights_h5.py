"""`.weights.h5`: weights, and the optimizer's states, as Keras lays them out in HDF5."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from penalize.layers.layer import Layer
from penalize.layers.tracking import weights_below
from penalize.optimizers import slots
from penalize.optimizers.rules import Rule
from penalize.saving.arrays import RAW_BFLOAT16, as_array, empty_for, fits, from_array
from penalize.saving.hdf5 import Dataset, File, require_h5py
from penalize.saving.staging import Staged
from penalize.saving.tree import groups_of

__all__ = ["put_states", "read_optimizer", "read_weights", "write_weights"]

OPTIMIZER = "optimizer/vars"


def write_weights(model: Layer, file: Any, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Write all weights into a new HDF5 file, given by an open binary file or its path, in Keras's layout."""
    groups = groups_of(model)
    with require_h5py().File(file, "w") as handle:
        for group in groups:
            own = handle.require_group(f"{group.path}/vars" if group.path else "vars")
            own.attrs["name"] = group.name
            for weight in group.weights:
                _write(handle, weight.path, weight.layout.to_keras(weight.tensor.detach()))
        if isinstance(optimizer, Rule):
            _write_optimizer(handle, model, optimizer)


def read_weights(model: Layer, file: File, at_once: bool = False) -> Staged:
    """Every weight of the model, read from the file; what does not fit is named, and nothing of the model changed.

    With `at_once`, for a model that nobody has yet, each weight is set when it is read: in memory it stands once.
    """
    staged = Staged(file.what, model.name, at_once)
    remaining = {path for path in file.datasets if not path.startswith("optimizer/")}
    for group in groups_of(model):
        for weight in group.weights:
            remaining.discard(weight.path)
            dataset = file.datasets.get(weight.path)
            if dataset is None:
                staged.missing(weight.label, weight.shape, weight.path)
            elif dataset.shape != weight.shape:
                staged.unlike(weight.label, weight.shape, dataset.shape)
            elif not fits(dataset.dtype, weight.tensor.dtype):
                staged.unlike(weight.label, weight.tensor.dtype, dataset.dtype)
            else:
                staged.put(weight.tensor, weight.layout.to_torch(_read(file, dataset)))
    staged.left_over(sorted(remaining))
    return staged


def read_optimizer(model: Layer, optimizer: torch.optim.Optimizer, file: File) -> str | None:
    """Set the optimizer's states from the file; the reason why that cannot be, without changing any of them."""
    count = sum(path.startswith(f"{OPTIMIZER}/") for path in file.datasets)
    datasets = [file.datasets.get(f"{OPTIMIZER}/{index}") for index in range(count)]
    if not count or None in datasets:
        return "the file does not hold its states"
    return put_states(model, optimizer, file, [dataset for dataset in datasets if dataset is not None])


def put_states(model: Layer, optimizer: torch.optim.Optimizer, file: File, datasets: list[Dataset]) -> str | None:
    """Set the states from datasets in Keras's order: iteration, learning rate, then the slots."""
    if not isinstance(optimizer, Rule):
        return "it is not one of penalize.optimizers"
    trained = _trained(model, optimizer)
    wanted = slots.slots_of(optimizer, [parameter for _, parameter in trained])
    layouts = {id(parameter): layout for layout, parameter in trained}
    if len(datasets) < 2 or any(dataset.shape != () or dataset.dtype.kind not in "iuf" for dataset in datasets[:2]):
        return "the iteration and the learning rate must be numbers"
    steps, rate = (float(_read(file, dataset)) for dataset in datasets[:2])
    if not 0 <= steps < 2**62 or not 0 <= rate < float("inf"):
        return f"the iteration is {steps} and the learning rate {rate}"
    if steps == 0 and len(datasets) == 2:
        wanted = []  # Keras makes the slots when it begins to train.
    if len(datasets) != len(wanted) + 2:
        return f"the file holds {len(datasets)} states, and it has {len(wanted) + 2}"
    read: list[tuple[slots.Slot, torch.Tensor]] = []
    for index, (slot, dataset) in enumerate(zip(wanted, datasets[2:], strict=True)):
        layout = None if slot.parameter is None else layouts[id(slot.parameter)]
        shape = () if layout is None or slot.parameter is None else tuple(layout.to_keras(slot.parameter).shape)
        if dataset.shape != shape or not fits(dataset.dtype, torch.float32):
            return f"state {index} is {dataset.dtype} of shape {dataset.shape}, expected floats of {shape}"
        value = _read(file, dataset)
        read.append((slot, value if layout is None else layout.to_torch(value)))
    slots.put(optimizer, read, int(steps))
    for group in optimizer.param_groups:
        # The config says it exactly; the file, in float32.
        if np.float32(group["lr"]) != np.float32(rate):
            group["lr"] = rate
    return None


def _write_optimizer(handle: Any, model: Any, optimizer: Rule) -> None:
    trained = _trained(model, optimizer)
    layouts = {id(parameter): layout for layout, parameter in trained}
    handle.require_group(OPTIMIZER)
    handle[f"{OPTIMIZER}/0"] = np.int32(slots.iterations(optimizer))
    handle[f"{OPTIMIZER}/1"] = np.float32(optimizer.param_groups[0]["lr"])
    chosen = slots.slots_of(optimizer, [parameter for _, parameter in trained])
    for index, (slot, value) in enumerate(slots.values(optimizer, chosen)):
        layout = None if slot.parameter is None else layouts[id(slot.parameter)]
        _write(handle, f"{OPTIMIZER}/{index + 2}", value if layout is None else layout.to_keras(value))


def _trained(model: Layer, optimizer: Rule) -> list[tuple[Any, torch.Tensor]]:
    """The layouts and weights that the optimizer holds, in Keras's order."""
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    return [(layout, weight) for layout, weight in weights_below(model) if id(weight) in held]


def _write(handle: Any, path: str, tensor: torch.Tensor) -> None:
    array = as_array(tensor)
    dataset = handle.create_dataset(path, data=array)
    if array.dtype == RAW_BFLOAT16:
        dataset.attrs["dtype"] = "bfloat16"


def _read(file: File, dataset: Dataset) -> torch.Tensor:
    array = empty_for(dataset.shape, dataset.dtype)
    file.read(dataset, array)
    return from_array(array)
