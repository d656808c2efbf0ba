"""Where chunks are trained: in this process, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from penalize.path.chunk import ChunkResult, train_chunk
from penalize.path.job import Chunk, Job

__all__ = ["Backend", "train_here"]


class Backend(Protocol):
    """Trains the chunks of a job, in any order, and yields each with its result as soon as it is finished.

    `advance` is to be called `job.training.epochs` times for each chunk, when epochs end or when the chunk does.
    """

    def __call__(
        self, job: Job, chunks: Sequence[Chunk], advance: Callable[[], None]
    ) -> Iterator[tuple[Chunk, ChunkResult]]: ...


def train_here(job: Job, chunks: Sequence[Chunk], advance: Callable[[], None]) -> Iterator[tuple[Chunk, ChunkResult]]:
    """One chunk after another, in this process."""
    for chunk in chunks:
        yield chunk, train_chunk(job, chunk, advance)
