"""Chunks on Ray: on an existing cluster, or on a local one that is started for the path and stopped after it."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from penalize.errors import ArgumentError, MissingExtraError, PenalizeError
from penalize.path.backends.local import Backend
from penalize.path.training.chunk import ChunkResult, train_chunk
from penalize.path.training.job import Chunk, Job, stages

__all__ = ["ray_backend"]

# A chunk whose worker is lost, with its node or alone, is trained again, this often.
RETRIES = 5


def ray_backend(address: str | None = None) -> Backend:
    """A backend that trains each chunk in a task on Ray.

    `address` is that of a running cluster, "host:port" or "auto"; without it, and where this process is not connected
    to Ray already, one is started on this machine. penalize must be installed wherever tasks run. Every task computes
    with as many threads as torch has here, so that the results are those of training here; a chunk whose worker is lost
    is trained again.

    Raises MissingExtraError where ray is not installed, ArgumentError for an address that is no text, or one beside a
    connection that is there already. When called, the backend raises PenalizeError where no cluster answers or a chunk
    loses its worker again and again, and what training raises.
    """
    library = _library()
    if address is not None and (not isinstance(address, str) or not address):
        raise ArgumentError(f'address must be "host:port" or "auto", got {address!r}')
    if address is not None and library.is_initialized():
        raise ArgumentError(f"address must be left out, as this process is connected to Ray already, got {address!r}")
    return partial(_train, library, address)


def _library() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError('ray is not installed: pip install "penalize[ray]"') from error
    return ray


def _train(
    ray: Any, address: str | None, job: Job, chunks: Sequence[Chunk], advance: Callable[[], None]
) -> Iterator[tuple[Chunk, ChunkResult]]:
    with _connected(ray, address):
        # As many as compute here, so that results are the same; those of models that are not stacked have one each.
        threads = torch.get_num_threads() if job.stacked else 1
        # A task that asks for more than any machine has would wait for ever.
        largest = max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
        task = ray.remote(num_cpus=min(threads, largest), max_retries=RETRIES)(_task)
        try:
            shared = ray.put(job)
        except Exception as error:  # of a model's own code, too
            raise PenalizeError(f"this model cannot be sent to Ray: {type(error).__name__}: {_first(error)}") from error
        waiting = {task.remote(shared, chunk, threads): chunk for chunk in chunks}
        try:
            while waiting:
                (done,), _ = ray.wait(list(waiting), num_returns=1)
                result = _fetched(ray, done)
                chunk = waiting.pop(done)
                for _ in range(job.training.epochs * len(stages(job, chunk))):
                    advance()
                yield chunk, result
        finally:
            for reference in waiting:
                ray.cancel(reference, force=True)


def _task(job: Job, chunk: Chunk, threads: int) -> ChunkResult:
    torch.set_num_threads(threads)
    return train_chunk(job, chunk, lambda: None)


def _fetched(ray: Any, reference: Any) -> ChunkResult:
    try:
        result: ChunkResult = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        # What the training itself raised, as if it had been trained here.
        raise error.cause from error
    except ray.exceptions.RayError as error:
        lost = f"a chunk was lost on Ray, also after {RETRIES} more tries"
        raise PenalizeError(f"{lost}: {type(error).__name__}: {_first(error)}") from error
    return result


@contextlib.contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """A connection of this process to Ray, for as long as the path needs it; one that was there is left alone."""
    if ray.is_initialized():
        yield
        return
    if address is not None:
        _check_answers(address)
    usage = os.environ.get("RAY_USAGE_STATS_ENABLED")
    # A cluster that is started here tells nobody about it, unless that was asked for.
    os.environ["RAY_USAGE_STATS_ENABLED"] = usage or "0"
    # Without a word of Ray's own between the lines of a progress bar.
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        ray.init(address=address or "local", **({} if address else {"include_dashboard": False}), **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise PenalizeError(f"Ray at {address or 'this machine'} cannot be used: {_first(error)}") from error
    finally:
        if usage is None:
            del os.environ["RAY_USAGE_STATS_ENABLED"]
    try:
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Ray itself would ask an address where nobody listens for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdecimal():
        raise ArgumentError(f'address must be "host:port" or "auto", got {address!r}')
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise PenalizeError(f"Ray at {address} does not answer: {error}") from error


def _first(error: BaseException) -> str:
    """The first line of an error's message."""
    return str(error).strip().partition("\n")[0]
