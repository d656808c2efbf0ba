"""The data of the command line: a named set that scikit-learn ships, or a file of the user's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn import datasets

from penalize.errors import ArgumentError, DataError, nearest
from penalize.path.data.sources import Source, read_source
from penalize.path.data.tables import SUFFIXES, read_arrays, read_table, suffix_of
from penalize.path.data.targets import Targets, read_targets

__all__ = ["DATA", "Data", "load_data"]

# Names of the target where none is given, in any case.
TARGET_NAMES = ("target", "label", "y")


@dataclass(frozen=True)
class Data:
    """Inputs as they came, what is known of them, and the targets; all checked."""

    name: str
    x: Any
    source: Source
    y: Targets

    @property
    def task(self) -> str:
        """Classification or regression, in these words."""
        return self.y.task


DATA: dict[str, tuple[Callable[..., Any], str]] = {
    "digits": (datasets.load_digits, "classification"),
    "breast-cancer": (datasets.load_breast_cancer, "classification"),
    "wine": (datasets.load_wine, "classification"),
    "diabetes": (datasets.load_diabetes, "regression"),
}


def load_data(
    name: str,
    target: str | None = None,
    task: str = "auto",
    drop: Sequence[str] = (),
    categories: Sequence[str] = (),
) -> Data:
    """The data set of this name, or of this file.

    Of a table, `target` names the column to predict, by default the one that is called target, label or y; `drop` names
    columns to leave out, `categories` columns of numbers that are categories. Of an NPZ file, `x` and `y` are what they
    say. Raises ArgumentError for a name of no data set and no file or of no column, offering the nearest, DataError for
    columns that nothing can be learned from, and what `read_table`, `read_source` and `read_targets` raise.

    >>> load_data("wine").source.names[:2]
    ('alcohol', 'malic_acid')
    """
    suffix = None if name in DATA else suffix_of(name)
    if suffix in (None, ".npz"):
        for option, given in (("target", target), ("drop", drop), ("category", categories)):
            if given:
                raise ArgumentError(f"{option} names a column of a table, but {name!r} has none: leave it out")
    if suffix == ".npz":
        arrays = read_arrays(Path(name))
        return Data(name, arrays[0], read_source(arrays[0]), read_targets(arrays[1], task))
    if suffix is not None:
        return _of_table(name, read_table(Path(name)), target, task, drop, categories)
    if name not in DATA:
        raise ArgumentError(
            f"data must be one of {', '.join(DATA)}, or a file that ends in {', '.join(SUFFIXES)}, got {name!r}: "
            f"{nearest(name, DATA)}"
        )
    load, own = DATA[name]
    frame = load(as_frame=True)
    return Data(name, frame.data, read_source(frame.data), read_targets(frame.target, own if task == "auto" else task))


def _of_table(
    name: str, table: pd.DataFrame, target: str | None, task: str, drop: Sequence[str], categories: Sequence[str]
) -> Data:
    chosen = _target(table, target)
    for option, given in (("drop", drop), ("category", categories)):
        for column in given:
            _check_column(table, column, option)
            if column == chosen:
                raise ArgumentError(f"{option} must name a column other than the target, got {column!r}")
    y = read_targets(table[chosen], task, f"the target {chosen!r}")
    x = table.drop(columns=[chosen, *drop])
    if not x.shape[1]:
        raise DataError(f"{name} has no column but the target {chosen!r}: there is nothing to predict it from")
    _check_worth(x, name)
    for column in categories:
        if column in x:
            x[column] = x[column].astype("category")
    return Data(name, x, read_source(x), y)


def _target(table: pd.DataFrame, target: str | None) -> str:
    if target is not None:
        return _check_column(table, target, "target")
    found = [column for column in table.columns if column.lower() in TARGET_NAMES]
    if len(found) == 1:
        return str(found[0])
    which = f"{' and '.join(map(repr, found))} could be it" if found else "none is called target, label or y"
    listed = ", ".join(map(repr, table.columns[:20])) + (" and more" if len(table.columns) > 20 else "")
    raise ArgumentError(f"target must say which column to predict, for {which}: the columns are {listed}")


def _check_column(table: pd.DataFrame, column: str, option: str) -> str:
    if column not in table.columns:
        raise ArgumentError(f"{option} must be a column of the table, got {column!r}: {nearest(column, table.columns)}")
    return column


def _check_worth(x: pd.DataFrame, name: str) -> None:
    """Columns of a file that hold nothing, or one value, are mistakes more often than not."""
    empty = [column for column in x if x[column].isna().all()]
    same = [column for column in x if column not in empty and _values(x[column]) == 1]
    for columns, what in ((empty, "nothing but missing values"), (same, "one value only")):
        if columns:
            listed = f"column{'s' if columns[1:] else ''} {', '.join(map(repr, columns[:8]))}"
            more = f" and {len(columns) - 8} more" if len(columns) > 8 else ""
            out = " ".join(f"--drop {_quoted(str(column))}" for column in columns[:8])
            raise DataError(
                f"{listed}{more} of {name} hold{'' if columns[1:] else 's'} {what}, and nothing can be learned from "
                f"that: leave out by {out}"
            )


def _values(column: pd.Series) -> int:
    # Objects such as lists cannot be counted as they are.
    return (column.astype(str) if column.dtype == object else column).nunique(dropna=False)


def _quoted(column: str) -> str:
    return column if column.isidentifier() else repr(column)
