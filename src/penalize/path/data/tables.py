"""Reading a table of the user's from a file: CSV, TSV, Parquet, or the arrays of an NPZ file."""

from __future__ import annotations

import csv
import gzip
import pickle
import warnings
import zipfile
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from penalize.errors import DataError, FileError, FileFormatError, MissingExtraError, nearest

__all__ = ["SUFFIXES", "read_arrays", "read_table", "suffix_of"]

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".npz")
SEPARATORS = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t"}


def suffix_of(name: str) -> str | None:
    """The ending that says how a file is read, or None when it says nothing.

    >>> suffix_of("houses.CSV.gz"), suffix_of("digits")
    ('.csv.gz', None)
    """
    return next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)


def read_table(path: Path) -> pd.DataFrame:
    """The table of a CSV, TSV or Parquet file, its columns named by texts that differ.

    Empty fields and pandas' usual names of missing values ("NA", "null", ...) are missing. Raises FileError for a file
    that cannot be read, FileFormatError for one that is broken or empty, DataError for columns without a name or with
    the same name, MissingExtraError where Parquet cannot be read for want of pyarrow.
    """
    suffix = suffix_of(path.name)
    _check_readable(path)
    table = _read_parquet(path) if suffix == ".parquet" else _read_text(path, SEPARATORS[str(suffix)])
    table.columns = pd.Index([str(name) for name in table.columns])
    _check_names(list(table.columns), path)
    if not len(table):
        raise FileFormatError(f"{path} has columns but no rows")
    return table


def read_arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The arrays `x` (rows, features, ...) and `y` (rows,) of an NPZ file; what is pickled is never read."""
    _check_readable(path)
    try:
        # np.load would hand over the array of an .npy file as well, and asks for pickles where a file is neither.
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no zip archive")
        with np.load(path, allow_pickle=False) as stored:
            missing = [key for key in ("x", "y") if key not in stored.files]
            if missing:
                held = ", ".join(map(repr, stored.files)) or "nothing"
                raise DataError(f"{path} must hold the arrays 'x' and 'y', got {held}")
            return stored["x"], stored["y"]
    except DataError:
        raise
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error) as error:
        why = "it holds Python objects, which are never read" if "allow_pickle" in str(error) else _line(error)
        raise FileFormatError(f"{path} is no NPZ file of plain arrays: {why}") from error


def _check_readable(path: Path) -> None:
    """Say now, and for all formats alike, that a file is not there, is a folder, is empty, or may not be read."""
    try:
        if path.is_dir():
            raise FileError(f"data must be a file, but {path} is a folder")
        with path.open("rb") as stream:
            if not stream.read(1):
                raise FileFormatError(f"{path} is empty")
    except FileNotFoundError:
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        known = [name for name in beside if suffix_of(name)]
        raise FileError(f"there is no file {str(path)!r}: {nearest(path.name, known)}") from None
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error


BROKEN = (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error, gzip.BadGzipFile, EOFError, zlib.error)


def _read_text(path: Path, separator: str) -> pd.DataFrame:
    try:
        _check_header(path, separator)
        with warnings.catch_warnings():
            # pandas cuts rows that are too long, and only warns.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(path, sep=separator, index_col=False, low_memory=False)
    except pd.errors.ParserWarning:
        raise FileFormatError(f"{path} has rows with more fields than columns") from None
    except UnicodeError as error:
        raise FileFormatError(f"{path} is no text in UTF-8: {_line(error)}") from error
    except (
        pd.errors.ParserError,
        pd.errors.EmptyDataError,
        csv.Error,
        gzip.BadGzipFile,
        EOFError,
        zlib.error,
    ) as error:
        raise FileFormatError(f"{path} is no table of text: {_line(error)}") from error
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error


def _check_header(path: Path, separator: str) -> None:
    """The names as they stand in the file: pandas would number those that are missing or there twice."""
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as stream:
        names = next(csv.reader(stream, delimiter=separator), [])
    _check_names(names, path)
    if len(names) < 2:
        kind = "commas" if separator == "," else "tabs"
        raise FileFormatError(
            f"{path} must have columns with {kind} between them, got the header {''.join(names)!r:.80}"
        )


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except ImportError as error:
        raise MissingExtraError('Parquet files are read by pyarrow: pip install "penalize[path]"') from error
    except (OSError, ValueError, NotImplementedError) as error:
        raise FileFormatError(f"{path} is no Parquet file that can be read: {_line(error)}") from error


def _check_names(names: list[Any], path: Path) -> None:
    for place, name in enumerate(names):
        if not str(name).strip():
            raise DataError(f"column {place + 1} of {path} has no name: give it one, or leave it out of the file")
    twice = [str(name) for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"the columns of {path} must have different names, but {twice[0]!r} is there more than once")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
