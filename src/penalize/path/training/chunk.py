"""Training one chunk of a path: a pure function of the job and of the pairs in the chunk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from penalize.path.training.job import Chunk, Job, stages
from penalize.path.training.loop import train_stack
from penalize.path.training.scoring import score_stack
from penalize.path.training.stacked import StackedModels, Tensors

__all__ = ["RESULTS", "ChunkResult", "train_chunk"]

RESULTS = ("train_loss", "val_loss", "score", "zeros", "epochs")


@dataclass(frozen=True)
class ChunkResult:
    """What the models of a chunk reached, in the order of its pairs.

    Arrays (pairs,): mean losses of the data without the penalty on training and validation rows, the score, the share
    of exact zeros, and the epochs trained. `weights` holds arrays (pairs, *shape), by the names of the parameters and
    buffers of the model, when the job keeps weights; else it is empty.
    """

    train_loss: np.ndarray
    val_loss: np.ndarray
    score: np.ndarray
    zeros: np.ndarray
    epochs: np.ndarray
    weights: dict[str, np.ndarray]


def train_chunk(job: Job, chunk: Chunk, advance: Callable[[], None]) -> ChunkResult:
    """Train the models of a chunk. `advance` is called once for each epoch of each stage, and changes nothing."""
    results: list[ChunkResult] = []
    done: list[tuple[int, int]] = []
    start: Tensors | None = None
    for stage in stages(job, chunk):
        stack = StackedModels(job, stage, start)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(job.training.seed)
            epochs = train_stack(stack, job, advance)
            results.append(_result(stack, epochs, job.keep_weights))
        done += stage
        start = stack.tensors
    order = [done.index(pair) for pair in chunk]
    arrays = {name: np.concatenate([getattr(result, name) for result in results])[order] for name in RESULTS}
    names = results[0].weights
    weights = {name: np.concatenate([result.weights[name] for result in results])[order] for name in names}
    return ChunkResult(**arrays, weights=weights)


def _result(stack: StackedModels, epochs: np.ndarray, keep_weights: bool) -> ChunkResult:
    scores = score_stack(stack)
    return ChunkResult(
        train_loss=scores.train_loss.numpy(),
        val_loss=scores.val_loss.numpy(),
        score=scores.score.numpy(),
        zeros=scores.zeros.numpy(),
        epochs=epochs,
        weights={name: tensor.numpy() for name, tensor in stack.tensors.items()} if keep_weights else {},
    )
