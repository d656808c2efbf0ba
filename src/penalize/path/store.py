"""Finished chunks in a folder: what an interrupted run goes on from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from penalize.atomic import replacing
from penalize.errors import FileFormatError
from penalize.path.chunk import RESULTS, ChunkResult
from penalize.path.job import Chunk

__all__ = ["read_chunk", "store_chunk"]

PREFIX = "weights/"


def store_chunk(folder: Path, chunk: Chunk, result: ChunkResult) -> None:
    """Write the result of a chunk as an `.npz`, whole or not at all."""
    arrays: dict[str, Any] = {PREFIX + name: array for name, array in result.weights.items()}
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
        names = [name for name in arrays if name.startswith(PREFIX)]
        weights = {name.removeprefix(PREFIX): arrays.pop(name) for name in names}
        return ChunkResult(**arrays, weights=weights)
    except (KeyError, TypeError, ValueError, OSError, EOFError, BadZipFile) as error:
        raise FileFormatError(f"{path}: this is no finished chunk of this path ({error}); delete it") from error


def _name(chunk: Chunk) -> str:
    return f"chunk-{hashlib.sha256(repr(chunk).encode()).hexdigest()[:16]}.npz"
