"""Whether a model can be trained in a stack: found out before training, beside the model alone."""

from __future__ import annotations

import dataclasses
import warnings

import torch

from penalize.errors import DataError, PenalizeError
from penalize.path.training.job import Chunk, Job
from penalize.path.training.stacked import StackedModels, Tensors

__all__ = ["NotStackedWarning", "why_not_stacked"]


class NotStackedWarning(UserWarning):
    """A model cannot be trained in a stack, so that models are trained one after another, which takes longer."""


def why_not_stacked(job: Job) -> str | None:
    """What hinders models of this job from being trained in a stack; None when nothing does.

    The first step of two models, with different weights, strengths and (where there are more) folds, is compared with
    that of each alone: its gradients, and what it leaves in buffers. DataError for a model that fails alone, too.
    """
    chunk: Chunk = ((len(job.strengths) - 1, 0), (0, len(job.data) - 1))
    stack = StackedModels(job, chunk)
    generator = torch.Generator().manual_seed(0)
    for weight in stack.trained.values():
        noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(weight.dtype)
        weight += 0.01 * noise * (weight.abs().mean() + 0.01)
    rows = [job.data.epoch_rows(0)[fold][: job.training.batch_size] for _, fold in chunk]
    x = torch.stack([job.data.x[fold, own] for own, (_, fold) in zip(rows, chunk, strict=True)])
    y = torch.stack([job.data.y[fold, own] for own, (_, fold) in zip(rows, chunk, strict=True)])
    stack.model.train()
    with torch.random.fork_rng(devices=[]):
        expected = [_alone(job, chunk, stack, member, x, y) for member in range(len(chunk))]
        last = len(job.data.epoch_rows(0)[0]) % job.training.batch_size
        if 0 < last < len(rows[0]):
            # What takes the averages of a batch may fail on a single row.
            _alone(job, chunk, stack, 0, x[:, :last], y[:, :last])
        torch.manual_seed(0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                got = {**stack.gradients(x, y), **stack.buffers}
            except Exception as error:  # whatever a model's own code makes of vmap's tensors
                return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    slow = [str(warning.message) for warning in caught if "performance drop" in str(warning.message)]
    if slow:
        return slow[0].split("Please file")[0].strip().removesuffix(".")
    tolerance, rounding = (1e-6, 1e-12) if job.dtype == torch.float64 else (1e-2, 1e-5)
    for member, own in enumerate(expected):
        # Beside the others a gradient may be rounding alone, as that of a bias before a BatchNorm.
        largest = max(float(own[name].double().norm()) for name in stack.trained)
        for name, reference in own.items():
            distance, size = float((got[name][member] - reference).double().norm()), float(reference.double().norm())
            if not distance <= tolerance * size + rounding * largest + 1e-7:
                what = "gradient of" if name in stack.trained else "value of buffer"
                return f"the first {what} {name} differs from that of the model alone by {distance:.3g} of {size:.3g}"
    return None


def _alone(job: Job, chunk: Chunk, stack: StackedModels, member: int, x: torch.Tensor, y: torch.Tensor) -> Tensors:
    alone = StackedModels(dataclasses.replace(job, stacked=False), chunk[member : member + 1])
    alone.put(torch.tensor([0]), stack, torch.tensor([member]))
    alone.model.train()
    torch.manual_seed(0)
    try:
        gradients = alone.gradients(x[member : member + 1], y[member : member + 1])
    except PenalizeError:
        raise
    except Exception as error:
        raise DataError(
            f"a training step of this model fails on a batch of {x.shape[1]} rows (batch_size="
            f"{job.training.batch_size}): {type(error).__name__}: {error}"
        ) from error
    return {name: tensor[0] for name, tensor in {**gradients, **alone.buffers}.items()}
