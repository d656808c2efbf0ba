"""Chunks trained by worker processes, each of which computes on one thread."""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from penalize.errors import PenalizeError
from penalize.path.training.chunk import ChunkResult, train_chunk
from penalize.path.training.job import Chunk, Job, stages

__all__ = ["cannot_be_sent", "train_in_workers"]

# In a worker: the job, as it was sent, and once it was read.
_received: dict[str, Any] = {}


def cannot_be_sent(job: Job) -> str | None:
    """Why a job cannot be sent to other processes; None when it can."""
    try:
        pickle.dumps(job)
    except Exception as error:  # of a model's own code, too
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    return None


def train_in_workers(
    job: Job, chunks: Sequence[Chunk], advance: Callable[[], None], processes: int
) -> Iterator[tuple[Chunk, ChunkResult]]:
    """Train chunks in so many new processes; the job is sent to each once.

    Raises PenalizeError for a worker that ends, is killed, or cannot read the job; errors of training as they are.
    """
    before = set(multiprocessing.active_children())
    workers: set[BaseProcess] = set()
    context = _context()
    executor = ProcessPoolExecutor(min(processes, len(chunks)), context, _begin, (pickle.dumps(job),))
    try:
        futures: dict[Future[ChunkResult], Chunk] = {executor.submit(_train, chunk): chunk for chunk in chunks}
        # All are there by now, and nobody else's who begins one while results are taken.
        workers = set(multiprocessing.active_children()) - before
        for future in as_completed(futures):
            chunk = futures[future]
            try:
                result = future.result()
            except BrokenProcessPool as error:
                raise PenalizeError(
                    "a worker process ended before its work was done: it was killed, as when memory is used up, or the "
                    'program has no `if __name__ == "__main__":` around its call, which new processes need; pass '
                    "processes=1 to train in this process"
                ) from error
            for _ in range(job.training.epochs * len(stages(job, chunk))):
                advance()
            yield chunk, result
        executor.shutdown()
    finally:
        # After an error or an interrupt nobody waits for what the workers are at.
        executor.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            with contextlib.suppress(ValueError):
                worker.terminate()


def _context() -> BaseContext:
    """New processes that share nothing with this one, whose threads would not survive a fork."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # Imported once, for all workers of this and of later calls; the second by optimizers at their first step.
    context.set_forkserver_preload([train_chunk.__module__, "torch._dynamo"])
    return context


def _begin(sent: bytes) -> None:
    # Ctrl-C reaches all processes of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    _received["sent"] = sent


def _train(chunk: Chunk) -> ChunkResult:
    if "job" not in _received:
        try:
            _received["job"] = pickle.loads(_received["sent"])
        except Exception as error:
            raise PenalizeError(
                f"a worker process cannot read the model or its data ({type(error).__name__}: {error}): define its "
                "class in a module that can be imported, or pass processes=1 to train in this process"
            ) from None
    return train_chunk(_received["job"], chunk, lambda: None)
