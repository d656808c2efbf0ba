"""Inputs as they come, an array or a DataFrame: what is known of them before any row is scaled for a fold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from sklearn.preprocessing import OneHotEncoder

from penalize.errors import DataError
from penalize.path.data.columns import Categories, Column, read_columns

__all__ = ["LEVELS", "Source", "read_source"]

LEVELS = 50
COLUMNS_AT_ONCE = 64


class Source(Protocol):
    """`names` of the model's inputs (flattened where they have several axes), how many `rows`, the `shape` of one row
    of inputs, and which of them are `numeric` (inputs,): the others are 0 or 1 and are not scaled."""

    @property
    def rows(self) -> int: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def numeric(self) -> np.ndarray: ...

    def table(self, kind: np.dtype[Any]) -> np.ndarray:
        """(rows, inputs): numbers shifted and divided so that they lie in [-1, 1], NaN where one is missing; and for
        each that has missing values a column that is 1 there; and the levels of categories, a column each."""


def read_source(x: Any) -> Source:
    """The inputs of an array (rows, features, ...) of numbers, or of a DataFrame (rows, columns).

    NaN is a missing value. Categories have a column for each level of the whole table, "name=level", a missing value
    being a level; of more than 50, the 49 most frequent have their own and "name=(infrequent)" holds the others. The
    inputs of an array are named x0, x1, ... What is read already comes back. Raises DataError, naming the column.
    """
    if isinstance(x, ArraySource | TableSource):
        return x
    if isinstance(x, pd.DataFrame):
        return TableSource.read(x)
    try:
        values = np.asarray(x)
        values = values if values.dtype.kind == "f" else values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"x must hold numbers, or be a DataFrame where it has categories: {error}") from error
    if values.ndim < 2 or not values.size:
        raise DataError(f"x must be (rows, features), got shape {values.shape}")
    return ArraySource.read(values)


@dataclass(frozen=True)
class ArraySource:
    """An array (rows, features, ...); of two axes, columns may have missing values: those at the places `missing`."""

    values: np.ndarray
    missing: np.ndarray

    @classmethod
    def read(cls, values: np.ndarray) -> ArraySource:
        """Check an array of floating numbers."""
        flat = values.reshape(len(values), -1)
        if np.isinf(flat).any():
            raise DataError("x must hold finite numbers, got infinity")
        missing = np.isnan(flat)
        if missing.all(0).any():
            raise DataError(f"column x{int(missing.all(0).argmax())} of x holds nothing but missing values")
        if missing.any() and values.ndim > 2:
            raise DataError(f"x may have missing values where it is (rows, features), got NaN in shape {values.shape}")
        return cls(values, np.flatnonzero(missing.any(0)))

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.values)

    @property
    def width(self) -> int:
        """How many numbers a row holds."""
        return int(np.prod(self.values.shape[1:]))

    @property
    def names(self) -> tuple[str, ...]:
        """x0, x1, ..., then those that say what is missing."""
        return (*(f"x{place}" for place in range(self.width)), *(f"x{place}=(missing)" for place in self.missing))

    @property
    def shape(self) -> tuple[int, ...]:
        """That of one row of inputs."""
        return self.values.shape[1:] if self.values.ndim > 2 else (self.width + len(self.missing),)

    @property
    def numeric(self) -> np.ndarray:
        """Which inputs are numbers."""
        return np.arange(self.width + len(self.missing)) < self.width

    def table(self, kind: np.dtype[Any]) -> np.ndarray:
        """The inputs, see `Source`; a few columns at once, so that nothing else is as large."""
        flat = self.values.reshape(len(self.values), -1)
        table = np.empty((len(flat), self.width + len(self.missing)), dtype=kind)
        for start in range(0, self.width, COLUMNS_AT_ONCE):
            part = slice(start, min(start + COLUMNS_AT_ONCE, self.width))
            table[:, part] = _shifted(flat[:, part])
        table[:, self.width :] = np.isnan(flat[:, self.missing])
        return table


@dataclass(frozen=True)
class TableSource:
    """The columns of a table; those of categories with an encoder each, by name."""

    columns: list[Column]
    encoders: dict[str, OneHotEncoder]
    names: tuple[str, ...]
    numeric: np.ndarray

    @classmethod
    def read(cls, frame: pd.DataFrame) -> TableSource:
        """Check the columns, and find the levels of categories."""
        columns = read_columns(frame)
        encoders: dict[str, OneHotEncoder] = {}
        names: list[str] = []
        numeric: list[bool] = []
        for column in columns:
            if isinstance(column, Categories):
                encoder = OneHotEncoder(max_categories=LEVELS, dtype=np.float32).fit(column.codes[:, None])
                encoders[column.name] = encoder
                new, are_numbers = _level_names(column, encoder), [False]
            else:
                new = [column.name, *([f"{column.name}=(missing)"] if np.isnan(column.values).any() else [])]
                are_numbers = [True]
            names += new
            numeric += are_numbers + [False] * (len(new) - 1)
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise DataError(f"two inputs would have the name {twice[0]!r}: rename a column of x, or its level")
        return cls(columns, encoders, tuple(names), np.array(numeric))

    @property
    def rows(self) -> int:
        """How many there are."""
        first = self.columns[0]
        return len(first.codes if isinstance(first, Categories) else first.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """That of one row of inputs."""
        return (len(self.names),)

    def table(self, kind: np.dtype[Any]) -> np.ndarray:
        """The inputs, see `Source`, made at their full width once."""
        table = np.zeros((self.rows, len(self.names)), dtype=kind)
        place = 0
        for column in self.columns:
            if isinstance(column, Categories):
                # One level a row, and so one entry of the sparse matrix.
                levels = self.encoders[column.name].transform(column.codes[:, None])
                table[np.arange(self.rows), place + levels.indices] = 1
                place += levels.shape[1]
                continue
            table[:, place] = _shifted(column.values)
            place += 1
            missing = np.isnan(column.values)
            if missing.any():
                table[:, place] = missing
                place += 1
        return table


def _shifted(values: np.ndarray) -> np.ndarray:
    """Columns about 0, of at most 1: large numbers that differ little would be lost in float32."""
    shifted: np.ndarray = values.astype(np.float64)
    shifted -= np.nanmedian(shifted, axis=0)
    largest = np.nanmax(np.abs(shifted), axis=0)
    shifted /= np.where(largest > 0, largest, 1.0)
    return shifted


def _level_names(column: Categories, encoder: OneHotEncoder) -> list[str]:
    (rare,) = encoder.infrequent_categories_
    hidden = set() if rare is None else set(rare.tolist())
    own = [level for code, level in enumerate(column.levels) if code not in hidden]
    return [f"{column.name}={level}" for level in [*own, *(["(infrequent)"] if hidden else [])]]
