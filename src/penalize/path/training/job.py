"""What was decided before training begins: all that the training of any part of a path needs to know."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from penalize.path.data.folds import Folds
from penalize.path.training.objective import Loss, Score
from penalize.path.training.optimization import OptimizerChoice

__all__ = ["Chunk", "Job", "Training", "plan_chunks", "stages"]

# The pairs (place of the strength in the grid, fold) whose models are trained together.
Chunk = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Training:
    """How each model is trained."""

    epochs: int
    batch_size: int
    optimizer: OptimizerChoice
    loss: Loss
    score: Score
    seed: int
    early_stopping: int | None = None
    warm_start: bool = False


@dataclass(frozen=True)
class Job:
    """A whole path, before its training; it can be pickled where its parts can.

    `base` holds the weights that all models begin with, and has its penalties attached, which each strength of
    `strengths` (ascending) multiplies. With `proximal`, penalties that have a proximal step take it. With
    `keep_weights`, the trained weights are part of the results. Without `stacked`, the models of a chunk are called one
    after another.
    """

    base: nn.Module
    data: Folds
    strengths: tuple[float, ...]
    training: Training
    proximal: bool = False
    keep_weights: bool = False
    stacked: bool = True

    @property
    def dtype(self) -> torch.dtype:
        """That of the models and of their data."""
        return next(self.base.parameters()).dtype

    @property
    def pairs(self) -> Chunk:
        """All pairs of a strength's place and a fold."""
        return tuple((place, fold) for place, _ in enumerate(self.strengths) for fold in range(len(self.data)))


def plan_chunks(job: Job, size: int) -> list[Chunk]:
    """All pairs of a job, at most `size` trained together.

    With warm starts, where strengths follow each other, a chunk is all strengths of at most `size` folds.
    """
    if not job.training.warm_start:
        return [job.pairs[start : start + size] for start in range(0, len(job.pairs), size)]
    folds = range(len(job.data))
    return [
        tuple(pair for pair in job.pairs if pair[1] in folds[start : start + size])
        for start in range(0, len(folds), size)
    ]


def stages(job: Job, chunk: Chunk) -> list[Chunk]:
    """The parts of a chunk that are trained in turn: one, or with warm starts one a strength, the weakest first."""
    if not job.training.warm_start:
        return [chunk]
    return [tuple(pair for pair in chunk if pair[0] == place) for place in sorted({place for place, _ in chunk})]
