"""Finished chunks in a folder: what an interrupted run goes on from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from penalize.atomic import replacing
from penalize.errors import ArgumentError, FileError, FileFormatError
from penalize.path.backends.fingerprint import fingerprint
from penalize.path.backends.local import Backend
from penalize.path.training.chunk import RESULTS, ChunkResult
from penalize.path.training.job import Chunk, Job, stages

__all__ = ["Stored", "open_store", "read_chunk", "store_chunk"]

WEIGHTS = "weights/"
JOB = "job.json"


class Stored:
    """A backend that keeps what another one finishes in a folder, and finds there what was finished before.

    `folder` must have been opened for the same job and chunks.
    """

    def __init__(self, backend: Backend, folder: Path) -> None:
        self.backend = backend
        self.folder = folder

    def __call__(
        self, job: Job, chunks: Sequence[Chunk], advance: Callable[[], None]
    ) -> Iterator[tuple[Chunk, ChunkResult]]:
        missing = []
        for chunk in chunks:
            found = read_chunk(self.folder, chunk)
            if found is None:
                missing.append(chunk)
                continue
            for _ in range(job.training.epochs * len(stages(job, chunk))):
                advance()
            yield chunk, found
        if missing:
            for chunk, result in self.backend(job, missing, advance):
                store_chunk(self.folder, chunk, result)
                yield chunk, result


def open_store(folder: str | Path, job: Job, chunks: Sequence[Chunk]) -> Path:
    """Make a folder ready for the finished chunks of a job, or find that it is of this job.

    ArgumentError for a folder that holds the chunks of another job, and says what differs; FileError for one that
    cannot be used.
    """
    if not isinstance(folder, str | Path):
        raise ArgumentError(f"resume must be a folder, got {folder!r:.80}")
    path = Path(folder)
    own = fingerprint(job, chunks)
    try:
        path.mkdir(parents=True, exist_ok=True)
        text = (path / JOB).read_text() if (path / JOB).exists() else None
    except OSError as error:
        raise FileError(f"resume: {path}: {error.strerror}") from error
    if text is None:
        if any(path.glob("chunk-*.npz")):
            raise ArgumentError(f"resume: {path} holds finished chunks, but no {JOB} that says of what; name another")
        with replacing(path / JOB, overwrite=False) as beside:
            beside.write_text(json.dumps(own, indent=2) + "\n")
        return path
    try:
        there = json.loads(text)
        differing = [part for part in own if there.get(part) != own[part]]
    except (ValueError, AttributeError) as error:
        raise FileFormatError(f"resume: {path / JOB} is broken ({error}); name another folder") from error
    if differing:
        raise ArgumentError(
            f"resume: {path} holds finished chunks of another path: {', '.join(differing)} differ; call with what it "
            "was begun with, or name another folder"
        )
    return path


def store_chunk(folder: Path, chunk: Chunk, result: ChunkResult) -> None:
    """Write the result of a chunk as an `.npz`, whole or not at all."""
    arrays: dict[str, Any] = {WEIGHTS + name: array for name, array in result.weights.items()}
    arrays |= {name: getattr(result, name) for name in RESULTS}
    with replacing(folder / _name(chunk), overwrite=True) as beside, beside.open("wb") as file:
        np.savez(file, chunk=np.array(chunk), **arrays)


def read_chunk(folder: Path, chunk: Chunk) -> ChunkResult | None:
    """The stored result of a chunk, or None where there is none. FileFormatError for a file that holds another."""
    path = folder / _name(chunk)
    if not path.exists():
        return None
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if arrays.pop("chunk").tolist() != [list(pair) for pair in chunk]:
            raise ValueError("it is of other pairs of strengths and folds")
        names = [name for name in arrays if name.startswith(WEIGHTS)]
        weights = {name.removeprefix(WEIGHTS): arrays.pop(name) for name in names}
        return ChunkResult(**arrays, weights=weights)
    except (KeyError, TypeError, ValueError, OSError, EOFError, BadZipFile) as error:
        raise FileFormatError(f"{path}: this is no finished chunk of this path ({error}); delete it") from error


def _name(chunk: Chunk) -> str:
    return f"chunk-{hashlib.sha256(repr(chunk).encode()).hexdigest()[:16]}.npz"
