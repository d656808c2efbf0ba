"""Training the strengths of a path once more, each on all rows: the models that a person keeps."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn

from penalize.binding import Penalties, attached
from penalize.layers import Dense
from penalize.path.backends import train_here
from penalize.path.fitted import Refit
from penalize.path.folds import Folds
from penalize.path.job import Job, plan_chunks
from penalize.path.standardized import Scaling
from penalize.placement import WeightTarget
from penalize.progress import progress_bar

__all__ = ["AllRows", "all_rows"]

CHUNK = 32


@dataclass(frozen=True)
class AllRows:
    """A path's training on all rows, before it is done: the same job, of one fold that trains on every row."""

    job: Job
    scaling: Scaling

    def train(self, progress: bool = True) -> Refit:
        """Train all strengths in stacks."""
        job = self.job
        chunks = plan_chunks(job, CHUNK)
        found = {}
        what = f"{len(job.strengths)} strengths on all rows"
        with progress_bar(len(chunks) * job.training.epochs, what, progress) as advance:
            for chunk, result in train_here(job, chunks, advance):
                found[chunk] = result
        results = [found[chunk] for chunk in chunks]
        (penalties,) = attached(job.base)
        model = copy.deepcopy(job.base)
        for each in attached(model):
            each.detach()
        names = results[0].weights
        return Refit(
            strengths=np.array(job.strengths),
            weights={name: torch.from_numpy(np.concatenate([r.weights[name] for r in results])) for name in names},
            train_loss=np.concatenate([result.train_loss for result in results]),
            zeros=np.concatenate([result.zeros for result in results]),
            scaling=self.scaling,
            penalized=_penalized(job.base, penalties),
            input_weight=_input_weight(job.base, penalties, job.data.x[0, :2]),
            model=model,
        )


def all_rows(job: Job, x: Any, y: Any) -> AllRows:
    """The training on all rows of what a job trains on folds; x (rows, features, ...) and y (rows,) as given."""
    values, dtype = np.asarray(x, dtype=np.float64), job.dtype
    flat = values.reshape(len(values), -1)
    scaler = StandardScaler().fit(flat)
    if job.data.task == "classification":
        mean, deviation = 0.0, 1.0
        targets = torch.from_numpy(np.unique(np.asarray(y), return_inverse=True)[1]).long()
    else:
        numbers = np.asarray(y, dtype=np.float64)
        mean, deviation = float(numbers.mean()), float(numbers.std())
        targets = torch.from_numpy((numbers - mean) / deviation).to(dtype)
    every = torch.arange(len(values))
    scaled = torch.from_numpy(scaler.transform(flat).reshape(values.shape)).to(dtype)
    data = Folds(job.data.task, job.data.classes, scaled[None], targets[None], [every], [every], job.data.seed)
    shape = values.shape[1:]
    of_inputs = (scaler.mean_, scaler.mean_, 1 / scaler.scale_)
    numbers_of_inputs = [torch.from_numpy(part.reshape(shape)).to(dtype) for part in of_inputs]
    numbers_of_target = [torch.tensor(number, dtype=dtype) for number in (mean, deviation)]
    scaling = Scaling(*numbers_of_inputs, *numbers_of_target)
    return AllRows(dataclasses.replace(job, data=data, keep_weights=True), scaling)


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
