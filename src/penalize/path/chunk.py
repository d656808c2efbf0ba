"""Training one chunk of a path: a pure function of the job and of the pairs in the chunk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from penalize.path.job import Chunk, Job
from penalize.path.scoring import score_stack
from penalize.path.stacked import StackedModels, train_stack

__all__ = ["ChunkResult", "train_chunk"]


@dataclass(frozen=True)
class ChunkResult:
    """What the models of a chunk reached, in the order of its pairs.

    Arrays (pairs,): mean losses of the data without the penalty on training and validation rows, the score, the share
    of exact zeros, and the epochs trained. `weights` holds arrays (pairs, *shape), by the names of the parameters and
    buffers of the model's `state_dict`, when the job keeps weights; else it is empty.
    """

    train_loss: np.ndarray
    val_loss: np.ndarray
    score: np.ndarray
    zeros: np.ndarray
    epochs: np.ndarray
    weights: dict[str, np.ndarray]


def train_chunk(job: Job, chunk: Chunk, advance: Callable[[], None]) -> ChunkResult:
    """Train the models of a chunk. `advance` is called once an epoch, and changes nothing."""
    places, folds = zip(*chunk, strict=True)
    strengths = torch.tensor([job.strengths[place] for place in places], dtype=job.dtype)
    stack = StackedModels(job.base, strengths, torch.tensor(folds), job.data.task, job.proximal)
    training = job.training
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        train_stack(
            stack,
            job.data,
            epochs=training.epochs,
            batch_size=training.batch_size,
            learning_rate=training.learning_rate,
            advance=advance,
        )
    scores = score_stack(stack, job.data)
    weights = {name: tensor.numpy() for name, tensor in {**stack.weights, **stack.buffers}.items()}
    return ChunkResult(
        train_loss=scores.train_loss.numpy(),
        val_loss=scores.val_loss.numpy(),
        score=scores.score.numpy(),
        zeros=scores.zeros.numpy(),
        epochs=np.full(len(chunk), training.epochs),
        weights=weights if job.keep_weights else {},
    )
