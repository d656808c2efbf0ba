"""Training data as batches of (inputs, targets, sample weights) from arrays, tensors or a DataLoader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from penalize.arguments import integer, number
from penalize.errors import ArgumentError, DataError

__all__ = [
    "ArrayData",
    "as_loader",
    "class_weights",
    "concatenated",
    "first_inputs",
    "in_tensors",
    "number_of_batches",
    "split",
    "unpack",
    "validation",
]

Batch = tuple[Any, Any, Any]


class ArrayData(Dataset[Batch]):
    """Arrays with the same first axis; `None` for targets or weights that are not given.

    `x` may also be a list, tuple or dict of arrays, for a model of several inputs.
    """

    def __init__(self, x: Any, y: Any = None, sample_weight: Any = None) -> None:
        if x is None:
            raise DataError("x must be an array, a tensor or a DataLoader, got None")
        inputs = _named_inputs(x)
        tensors = {name: _as_tensor(array, name) for name, array in inputs.items()}
        targets, weights = (
            None if array is None else _as_tensor(array, name)
            for name, array in (("y", y), ("sample_weight", sample_weight))
        )
        lengths = {name: len(tensor) for name, tensor in tensors.items()}
        lengths |= {name: len(t) for name, t in (("y", targets), ("sample_weight", weights)) if t is not None}
        if isinstance(x, dict):
            self.x: Any = dict(zip(x, tensors.values(), strict=True))
        else:
            self.x = next(iter(tensors.values())) if "x" in tensors else tuple(tensors.values())
        self.y, self.sample_weight = targets, weights
        if len(set(lengths.values())) > 1:
            raise DataError(
                "arrays must have the same length, got " + ", ".join(f"{k} {v}" for k, v in lengths.items())
            )
        self.length = next(iter(lengths.values()))
        if not self.length:
            raise DataError("x is empty: at least one sample is needed")

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Batch:
        if isinstance(self.x, dict):
            x: Any = {key: array[index] for key, array in self.x.items()}
        else:
            x = self.x[index] if isinstance(self.x, torch.Tensor) else tuple(array[index] for array in self.x)
        y, weight = (None if array is None else array[index] for array in (self.y, self.sample_weight))
        return x, y, weight

    def __getitems__(self, indices: list[int]) -> Batch:
        # torch's loaders fetch a whole batch by this method where it is defined: one indexing instead of one a sample.
        return self[torch.from_numpy(np.array(indices))]


def as_loader(x: Any, y: Any, sample_weight: Any, *, batch_size: int | None, shuffle: bool) -> DataLoader[Any]:
    """A DataLoader over the data; one that is given is used as it is, and brings its own targets and batches."""
    if isinstance(x, DataLoader):
        for value, name in ((y, "y"), (sample_weight, "sample_weight"), (batch_size, "batch_size")):
            if value is not None:
                raise DataError(f"{name} must not be given beside a DataLoader, which brings its own")
        return x
    data = x if isinstance(x, ArrayData) else ArrayData(x, y, sample_weight)
    size = integer("batch_size", 32 if batch_size is None else batch_size)
    return DataLoader(data, batch_size=size, shuffle=shuffle, collate_fn=_same)


def unpack(batch: Any) -> Batch:
    """(inputs, targets, weights) of a batch of any loader: x alone, (x, y) or (x, y, weights)."""
    if isinstance(batch, tuple | list):
        if not 1 <= len(batch) <= 3:
            raise DataError(f"a batch is x, (x, y) or (x, y, sample_weight), got {len(batch)} parts")
        x, y, weight = (*batch, None, None)[:3]
        return x, y, weight
    return batch, None, None


def in_tensors(batch: Any) -> Any:
    """A batch of the same nested structure whose NumPy arrays, as a `collate_fn` may make them, are tensors."""
    if isinstance(batch, np.ndarray):
        return _as_tensor(batch, "an array of a batch")
    if isinstance(batch, dict):
        return {key: in_tensors(part) for key, part in batch.items()}
    if isinstance(batch, list | tuple):
        parts = [in_tensors(part) for part in batch]
        # A named tuple takes its parts one by one.
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    return batch


def first_inputs(loader: DataLoader[Any]) -> Any:
    """The inputs of one batch, without drawing from the random numbers that training will use."""
    state = torch.random.get_rng_state()
    try:
        return unpack(in_tensors(next(iter(loader))))[0]
    except StopIteration:
        raise DataError("the DataLoader is empty: at least one batch is needed") from None
    finally:
        torch.random.set_rng_state(state)


def split(x: Any, y: Any, sample_weight: Any, share: float) -> tuple[ArrayData, ArrayData]:
    """Training and validation data: the last `share` of the samples, before any shuffling, validates."""
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
        raise ArgumentError(f"validation_split must be a number between 0 and 1, got {share!r}")
    if isinstance(x, DataLoader):
        raise ArgumentError("validation_split needs arrays or tensors; give a DataLoader's validation_data by itself")
    data = ArrayData(x, y, sample_weight)
    cut = int(len(data) * (1 - share))
    if not 0 < cut < len(data):
        raise ArgumentError(f"validation_split {share} leaves no sample to train or to validate on, of {len(data)}")
    return ArrayData(*data[:cut]), ArrayData(*data[cut:])


def class_weights(y: Any, sample_weight: Any, weights: Mapping[int, float]) -> torch.Tensor:
    """One weight a sample: that of its class, 1 where none is given, times its own where there is one."""
    if y is None:
        raise DataError("class_weight needs y")
    labels = _as_tensor(y, "y")
    if labels.ndim > 1 and labels.shape[-1] > 1:
        labels = labels.argmax(-1)
    labels = labels.reshape(len(labels)).long()
    if not isinstance(weights, Mapping):
        raise ArgumentError(f"class_weight must be a dict from classes to weights, got {weights!r:.80}")
    classes = {integer("class_weight's class", label, least=0): weight for label, weight in weights.items()}
    # Classes that are not named have weight 1.
    table = torch.ones(max([int(labels.max()), *classes]) + 1)
    for label, weight in classes.items():
        table[label] = number(f"class_weight[{label}]", weight, 0.0)
    result = table[labels]
    return result if sample_weight is None else result * _as_tensor(sample_weight, "sample_weight").reshape(len(labels))


def _named_inputs(x: Any) -> dict[str, Any]:
    """The arrays of x by names for errors: one array, or several in a list, tuple or dict."""
    if isinstance(x, dict):
        return {f"x[{key!r}]": array for key, array in x.items()}
    return {f"x[{index}]": array for index, array in enumerate(x)} if _several(x) else {"x": x}


def _several(array: Any) -> bool:
    """Whether these are arrays, and not the rows of one."""
    return isinstance(array, list | tuple) and any(
        isinstance(item, np.ndarray | torch.Tensor) and item.ndim > 0 for item in array
    )


def _as_tensor(array: Any, name: str) -> torch.Tensor:
    if isinstance(array, torch.Tensor):
        tensor = array
    else:
        if isinstance(array, dict) or _several(array):
            raise DataError(f"{name} must be one array, got {type(array).__name__} of {len(array)}")
        values = np.asarray(array)
        if values.dtype.kind not in "fiub":
            raise DataError(f"{name} must hold numbers, got an array of dtype {values.dtype}")
        tensor = torch.from_numpy(np.require(values, requirements=["C", "W"]))
        # NumPy computes in float64 by default, Keras and torch in float32.
        tensor = tensor.float() if tensor.dtype == torch.float64 else tensor
    if tensor.ndim == 0:
        raise DataError(f"{name} must have an axis of samples, got a single number")
    return tensor


def _same(batch: Any) -> Any:
    return batch


def validation(data: Any) -> tuple[Any, Any, Any]:
    """The parts of `validation_data`: (x, y), (x, y, sample_weight) or a DataLoader."""
    if isinstance(data, DataLoader | ArrayData):
        return data, None, None
    if isinstance(data, Sequence) and 2 <= len(data) <= 3:
        x, y, weight = (*data, None)[:3]
        return x, y, weight
    raise DataError(f"validation_data must be (x, y), (x, y, sample_weight) or a DataLoader, got {type(data).__name__}")


def number_of_batches(loader: DataLoader[Any]) -> int | None:
    """How many batches a loader gives; None where it does not know."""
    try:
        return len(loader)
    except TypeError:
        return None


def concatenated(outputs: list[Any]) -> Any:
    """One nested structure of NumPy arrays from those of the batches."""
    first = outputs[0]
    if isinstance(first, torch.Tensor):
        whole = torch.cat(outputs) if first.ndim else torch.stack(outputs)
        array: np.ndarray = (whole.float() if whole.dtype == torch.bfloat16 else whole).detach().cpu().numpy()
        return array
    if isinstance(first, dict):
        return {key: concatenated([output[key] for output in outputs]) for key in first}
    items = [concatenated([output[index] for output in outputs]) for index in range(len(first))]
    return type(first)(*items) if hasattr(first, "_fields") else type(first)(items)
