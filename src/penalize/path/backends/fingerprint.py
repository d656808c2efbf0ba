"""What a job is, in a few short texts: two jobs with the same ones have the same results."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

import penalize
from penalize.binding import attached
from penalize.path.data.folds import Folds
from penalize.path.training.job import Chunk, Job

__all__ = ["fingerprint"]

ROWS = 4096


def fingerprint(job: Job, chunks: Sequence[Chunk]) -> dict[str, str]:
    """Texts by what they are of, in the words of a message: data, model, penalties, settings, chunks, versions."""
    (penalties,) = attached(job.base)
    training = job.training
    named = [*job.base.named_parameters(), *job.base.named_buffers()]
    settings = {
        "epochs": training.epochs,
        "batch size": training.batch_size,
        "optimizer": str(training.optimizer),
        "seed": training.seed,
        "early stopping": training.early_stopping,
        "warm start": training.warm_start,
        "proximal": job.proximal,
    }
    return {
        "data": _hash(_of_data(job.data)),
        "model": _hash([repr(job.base).encode(), *(part for name, tensor in named for part in _of(name, tensor))]),
        "penalties": str({name: repr(target.regularizer) for name, target in penalties.items()}),
        "strengths": str(list(job.strengths)),
        **{name: str(value) for name, value in settings.items()},
        "loss": _of_function(training.loss),
        "score": _of_function(training.score.function),
        "chunks": _hash([repr((list(chunks), job.stacked, job.keep_weights)).encode()]),
        "versions": str({module.__name__: module.__version__ for module in (penalize, torch, np)}),
    }


def _of_data(data: Folds) -> Iterator[bytes]:
    yield repr((data.task, data.classes, data.seed, tuple(data.x.shape))).encode()
    for name, parts in (("train", data.train), ("validation", data.validation), ("y", list(data.y))):
        for part in parts:
            yield from _of(name, part)
    # Folds differ in how they scale the same rows, which follows from their training rows.
    rows = data.x.shape[1]
    for start in range(0, rows, ROWS):
        yield from _of("x", data.x[0, slice(start, start + ROWS)])


def _of(name: str, tensor: torch.Tensor) -> Iterator[bytes]:
    yield f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode()
    yield tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def _of_function(function: Any) -> str:
    """Its name and, where it is written in Python, what it computes."""
    code = getattr(function, "__code__", None)
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)}"
    if code is None:
        return name if hasattr(function, "__qualname__") else f"{name} {function!r}"
    numbers = [constant for constant in code.co_consts if isinstance(constant, int | float | str)]
    return f"{name} {_hash([code.co_code, repr((code.co_names, numbers)).encode()])}"


def _hash(parts: Any) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()
