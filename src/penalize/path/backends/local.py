"""Where chunks are trained: in this process, or in worker processes of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from penalize.errors import ArgumentError
from penalize.path.backends.workers import train_in_workers
from penalize.path.training.chunk import ChunkResult, train_chunk
from penalize.path.training.job import Chunk, Job

__all__ = ["Backend", "LocalBackend", "choose_backend", "train_here"]


class Backend(Protocol):
    """Trains the chunks of a job, in any order, and yields each with its result as soon as it is finished.

    `advance` is to be called `job.training.epochs` times for each of a chunk's `stages`, when epochs end or when the
    chunk does.
    """

    def __call__(
        self, job: Job, chunks: Sequence[Chunk], advance: Callable[[], None]
    ) -> Iterator[tuple[Chunk, ChunkResult]]: ...


def train_here(job: Job, chunks: Sequence[Chunk], advance: Callable[[], None]) -> Iterator[tuple[Chunk, ChunkResult]]:
    """One chunk after another, in this process."""
    for chunk in chunks:
        yield chunk, train_chunk(job, chunk, advance)


class LocalBackend:
    """This machine: with one process this one, with more as many workers, each of which computes on one thread."""

    def __init__(self, processes: int) -> None:
        self.processes = processes

    def __call__(
        self, job: Job, chunks: Sequence[Chunk], advance: Callable[[], None]
    ) -> Iterator[tuple[Chunk, ChunkResult]]:
        if self.processes == 1 or len(chunks) < 2:
            yield from train_here(job, chunks, advance)
        else:
            yield from train_in_workers(job, chunks, advance, self.processes)


def choose_backend(backend: Any, processes: int) -> Backend:
    """The backend of a name, or one that was given. ArgumentError for anything else."""
    if backend == "local":
        return LocalBackend(processes)
    if backend == "ray":
        from penalize.path.backends.ray import ray_backend

        return ray_backend()
    if callable(backend) and not isinstance(backend, type):
        chosen: Backend = backend
        return chosen
    raise ArgumentError(f'backend must be "local", "ray" or a function (job, chunks, advance), got {backend!r:.80}')
