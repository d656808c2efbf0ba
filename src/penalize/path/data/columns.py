"""What the columns of a table hold: numbers, or categories with their levels."""

from __future__ import annotations

import datetime
import decimal
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from penalize.errors import DataError

__all__ = ["Categories", "Column", "Numbers", "read_columns"]

NUMERIC_SHARE = 0.5


@dataclass(frozen=True)
class Numbers:
    """A column of numbers, float64, NaN where one is missing."""

    name: str
    values: np.ndarray


@dataclass(frozen=True)
class Categories:
    """A column of categories: the place of each row's level in `levels`, which are sorted, "(missing)" the last."""

    name: str
    codes: np.ndarray
    levels: tuple[str, ...]


Column = Numbers | Categories


def read_columns(table: pd.DataFrame) -> list[Column]:
    """The columns of a table, in their order.

    Numbers stay numbers; dates and times become days since 1970, durations days. Text, bool and pandas' categories are
    categories, also where the text looks like numbers throughout. Text in ISO 8601 dates throughout counts as dates.
    Raises DataError, naming the column, for one of mixed numbers and text, with infinity, with nothing but missing
    values, or with other objects; and for columns of the same name.
    """
    names = [str(name) for name in table.columns]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"the columns of x must have different names, but {twice[0]!r} is there more than once")
    if not names:
        raise DataError("x must have at least one column, got none")
    empty = [name for place, name in enumerate(names) if table.iloc[:, place].isna().all()]
    if empty:
        raise DataError(f"{_listed(empty)} of x hold{'' if empty[1:] else 's'} nothing but missing values: leave out")
    return [_column(name, table.iloc[:, place]) for place, name in enumerate(names)]


def _column(name: str, column: pd.Series) -> Column:
    kind = column.dtype
    if isinstance(kind, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(kind):
        return _categories(name, column)
    if pd.api.types.is_datetime64_any_dtype(kind):
        return _numbers(name, _days(column))
    if pd.api.types.is_timedelta64_dtype(kind):
        return _numbers(name, column.dt.total_seconds() / 86400)
    if pd.api.types.is_complex_dtype(kind):
        raise DataError(f"column {name!r} of x must hold numbers, text, bool or dates, got complex numbers")
    if pd.api.types.is_numeric_dtype(kind):
        return _numbers(name, column)
    return _objects(name, column)


def _objects(name: str, column: pd.Series) -> Column:
    """A column of text, or of Python objects."""
    held = column.dropna()
    kinds = {str} if isinstance(column.dtype, pd.StringDtype) else {type(value) for value in held}
    if all(issubclass(kind, bool | np.bool_) for kind in kinds):
        return _categories(name, column)
    if all(issubclass(kind, datetime.date) for kind in kinds):
        return _numbers(name, _days(pd.to_datetime(column)))
    if all(issubclass(kind, int | float | np.number | decimal.Decimal) for kind in kinds):
        return _numbers(name, column)
    if not all(issubclass(kind, str | bool | int | float | np.number) for kind in kinds):
        got = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise DataError(f"column {name!r} of x must hold numbers, text, bool or dates, got {got}")
    text = held.astype(str)
    numeric = pd.to_numeric(text, errors="coerce").notna().to_numpy()
    if not numeric.all() and numeric.mean() >= NUMERIC_SHARE:
        place = int(np.flatnonzero(~numeric)[0])
        row = int(np.flatnonzero(column.notna().to_numpy())[place]) + 1
        raise DataError(
            f"column {name!r} of x holds text among its numbers, {text.iloc[place]!r:.40} in row {row} the first of "
            f"{int((~numeric).sum())}: correct them, or declare it a category"
        )
    if not numeric.any() and (dates := _iso_dates(column, held)) is not None:
        return _numbers(name, _days(dates))
    return _categories(name, column)


def _iso_dates(column: pd.Series, held: pd.Series) -> pd.Series | None:
    """The column as dates when every text in it is one, such as 2024-02-29 or 2024-02-29T12:30:00Z."""
    if not str(held.iloc[0])[:4].isdigit():
        return None
    dates = pd.to_datetime(column, format="ISO8601", errors="coerce", utc=True)
    return dates if dates.notna().sum() == len(held) else None


def _days(dates: pd.Series) -> pd.Series:
    start = pd.Timestamp("1970-01-01", tz=getattr(dates.dt, "tz", None))
    return (dates - start).dt.total_seconds() / 86400


def _numbers(name: str, column: pd.Series) -> Numbers:
    values = pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(values).any():
        row = int(np.flatnonzero(np.isinf(values))[0]) + 1
        raise DataError(f"column {name!r} of x must hold finite numbers, got infinity in row {row}")
    return Numbers(name, values)


def _categories(name: str, column: pd.Series) -> Categories:
    codes, found = pd.factorize(column)
    levels = [str(level) for level in found]
    order = np.argsort(np.array(levels, dtype=object), kind="stable")
    place = np.empty(len(levels) + 1, dtype=np.int32)
    place[order] = np.arange(len(levels), dtype=np.int32)
    # A missing value has the code -1, which finds the last place.
    place[-1] = len(levels)
    names = [levels[number] for number in order]
    return Categories(name, place[codes], (*names, *(["(missing)"] if (codes == -1).any() else [])))


def _listed(names: list[str]) -> str:
    listed = ", ".join(map(repr, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return f"column{'s' if names[1:] else ''} {listed}"
