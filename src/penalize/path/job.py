"""What was decided before training begins: all that the training of any part of a path needs to know."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from penalize.path.folds import Folds

__all__ = ["Chunk", "Job", "Training", "plan_chunks"]

# The pairs (place of the strength in the grid, fold) whose models are trained together.
Chunk = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Training:
    """How each model is trained."""

    epochs: int
    batch_size: int
    learning_rate: float
    seed: int


@dataclass(frozen=True)
class Job:
    """A whole path, before its training; it can be pickled where its parts can.

    `base` holds the weights that all models begin with, and has its penalties attached, which each strength of
    `strengths` (ascending) multiplies. With `proximal`, penalties that have a proximal step take it. With
    `keep_weights`, the trained weights are part of the results.
    """

    base: nn.Module
    data: Folds
    strengths: tuple[float, ...]
    training: Training
    proximal: bool = False
    keep_weights: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """That of the models and of their data."""
        return next(self.base.parameters()).dtype

    @property
    def pairs(self) -> Chunk:
        """All pairs of a strength's place and a fold."""
        return tuple((place, fold) for place, _ in enumerate(self.strengths) for fold in range(len(self.data)))


def plan_chunks(job: Job, size: int) -> list[Chunk]:
    """All pairs of a job, at most `size` together."""
    pairs = job.pairs
    return [pairs[start : start + size] for start in range(0, len(pairs), size)]
