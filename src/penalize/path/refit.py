"""Training the strengths of a path once more, each on all rows: the models that a person keeps."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from penalize.binding import Penalties, attached
from penalize.layers import Dense
from penalize.path.backends.local import Backend
from penalize.path.data.columns import Numbers
from penalize.path.data.sources import ArraySource, Source, TableSource
from penalize.path.data.standardized import Scaling
from penalize.path.fitted import Refit
from penalize.path.training.chunk import ChunkResult
from penalize.path.training.job import Job, plan_chunks, stages
from penalize.placement import WeightTarget
from penalize.progress import progress_bar

__all__ = ["AllRows", "all_rows"]

# What ends the name of an input that is 1 where a number is missing.
MISSING = "=(missing)"


@dataclass(frozen=True)
class AllRows:
    """A path's training on all rows, before it is done: the job of its folds, and the scaling of all rows.

    `trains` and `size` are the path's backend, and how many models it trains together. `epochs` (strengths,): how long
    each is trained.
    """

    job: Job
    scaling: Scaling
    trains: Backend
    size: int
    epochs: tuple[int, ...]

    def train(self, progress: bool = True) -> Refit:
        """Train all strengths, those of equal epochs together."""
        parts = [self._part(epochs) for epochs in sorted(set(self.epochs))]
        planned = [(job, plan_chunks(job, self.size)) for job in parts]
        steps = sum(job.training.epochs * len(stages(job, chunk)) for job, chunks in planned for chunk in chunks)
        bar = progress_bar(steps, f"{len(self.job.strengths)} strengths on all rows", progress)
        results: dict[float, tuple[ChunkResult, int]] = {}
        # A model may be asked for where gradients are switched off.
        with torch.inference_mode(False), torch.enable_grad(), bar as advance:
            for job, chunks in planned:
                for chunk, result in self.trains(job, chunks, advance):
                    results |= {job.strengths[pair[0]]: (result, number) for number, pair in enumerate(chunk)}
        in_order = [results[strength] for strength in self.job.strengths]
        (penalties,) = attached(self.job.base)
        model = copy.deepcopy(self.job.base)
        for each in attached(model):
            each.detach()
        stacked = {
            name: torch.from_numpy(np.stack([result.weights[name][number] for result, number in in_order]))
            for name in in_order[0][0].weights
        }
        return Refit(
            strengths=np.array(self.job.strengths),
            weights=stacked,
            train_loss=np.array([result.train_loss[number] for result, number in in_order]),
            zeros=np.array([result.zeros[number] for result, number in in_order]),
            scaling=self.scaling,
            penalized=_penalized(self.job.base, penalties),
            input_weight=_input_weight(self.job.base, penalties, self.job.data.x[0, :2]),
            model=model,
        )

    def _part(self, epochs: int) -> Job:
        """The job of the strengths that are trained for so many epochs."""
        chosen = tuple(s for s, own in zip(self.job.strengths, self.epochs, strict=True) if own == epochs)
        training = dataclasses.replace(self.job.training, epochs=epochs, early_stopping=None)
        return dataclasses.replace(self.job, data=self.job.data.whole(), strengths=chosen, training=training)


def all_rows(job: Job, source: Source, trains: Backend, size: int, fold_epochs: np.ndarray) -> AllRows:
    """The training on all rows of what a job trained on folds, whose inputs are those of `source`.

    Without rows to validate on there is no early stopping: then each strength is trained for the mean number of epochs
    after which it was best on the folds (strengths, folds); all for the median of these where they follow each other.
    """
    data, dtype = job.data, job.dtype
    columns, marks = _origins(data.feature_names, data.x.numeric)
    fill, mean, factor = np.zeros(len(columns)), np.zeros(len(columns)), np.ones(len(columns))
    for place, values in zip(np.flatnonzero(data.x.numeric), _numbers(source), strict=True):
        fill[place] = np.nanmedian(values)
        filled = np.where(np.isnan(values), fill[place], values)
        mean[place] = filled.mean()
        factor[place] = 1 / filled.std() if np.ptp(filled) > 0 else 0.0
    # Levels that no row, or every row, has teach nothing either.
    factor[(data.whole().x.factor[0].flatten() == 0).numpy()] = 0.0
    shape = data.x.shape[2:]
    inputs = [torch.from_numpy(part).to(dtype).reshape(shape) for part in (fill, mean, factor)]
    values = data.targets.values
    of_target = (values.mean(), values.std()) if data.task == "regression" else (0.0, 1.0)
    target = [torch.tensor(float(number), dtype=dtype) for number in of_target]
    scaling = Scaling(torch.from_numpy(columns), torch.from_numpy(marks), *inputs, *target)
    epochs = _best_epochs(job, fold_epochs)
    return AllRows(dataclasses.replace(job, keep_weights=True), scaling, trains, size, epochs)


def _best_epochs(job: Job, fold_epochs: np.ndarray) -> tuple[int, ...]:
    most, patience = job.training.epochs, job.training.early_stopping
    if patience is None:
        return (most,) * len(job.strengths)
    best = np.where(fold_epochs < most, fold_epochs - patience, fold_epochs).mean(axis=1)
    best = np.full_like(best, np.median(best)) if job.training.warm_start else best
    return tuple(max(1, round(float(epochs))) for epochs in best)


def _origins(names: Sequence[str], numeric: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each input: the place of what a person gives for it, and whether it only marks where that is missing."""
    numbers = {name for name, is_number in zip(names, numeric, strict=True) if is_number}
    marked = [name.removesuffix(MISSING) if name.endswith(MISSING) else None for name in names]
    marks = np.array([base in numbers for base in marked])
    given = {name: place for place, name in enumerate(np.array(names)[~marks].tolist())}
    columns = [given[base if mark else name] for name, base, mark in zip(names, marked, marks, strict=True)]
    return np.array(columns), marks


def _numbers(source: Source) -> Iterator[np.ndarray]:
    """The columns of numbers, in their own units, float64."""
    if isinstance(source, TableSource):
        yield from (column.values for column in source.columns if isinstance(column, Numbers))
        return
    assert isinstance(source, ArraySource)
    flat = source.values.reshape(source.rows, -1)
    for place in range(source.width):
        yield flat[:, place].astype(np.float64)


def _penalized(model: nn.Module, penalties: Penalties) -> tuple[str, ...]:
    """The names of the model's parameters that are penalized."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    targets = [target for target in penalties.values() if isinstance(target, WeightTarget)]
    return tuple(names[id(target.tensor())] for target in targets if id(target.tensor()) in names)


def _input_weight(model: nn.Module, penalties: Penalties, x: torch.Tensor) -> str | None:
    """The penalized weight of the linear layer that takes the inputs themselves, if there is one."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found: list[str] = []

    def look(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        taken = inputs[0] if inputs else None
        if (
            isinstance(taken, torch.Tensor)
            and taken.shape == (len(x), x[0].numel())
            and torch.equal(taken, x.flatten(1))
        ):
            found.append(names[id(module.weight)])

    targets = [target for target in penalties.values() if isinstance(target, WeightTarget)]
    weights = [t for t in targets if isinstance(t.module, nn.Linear | Dense) and t.tensor() is t.module.weight]
    handles = [target.module.register_forward_pre_hook(look) for target in weights]
    try:
        with torch.no_grad():
            model.eval()(x)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None
