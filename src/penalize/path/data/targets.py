"""Targets: what is to be predicted, and whether it is a class or a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from penalize.arguments import choice
from penalize.errors import DataError

__all__ = ["CLASSES", "TASKS", "Targets", "read_targets"]

TASKS = ("auto", "classification", "regression")
CLASSES = 50


@dataclass(frozen=True)
class Targets:
    """Class numbers (rows,) and the classes' names, or float64 numbers (rows,) and no names."""

    task: str
    values: np.ndarray
    classes: tuple[str, ...]

    @property
    def outputs(self) -> int:
        """How many outputs a model needs: one a class, or one."""
        return len(self.classes) if self.task == "classification" else 1


def read_targets(y: Any, task: str = "auto", name: str = "y") -> Targets:
    """The targets of an array (rows,) or a column of a table.

    "auto" is classification for text, bool, categories, and integers of at most 50 values, and regression for other
    numbers. What is read already comes back. Raises DataError, naming `name`, for missing or infinite values, text
    where numbers belong, and for one class or value only; ArgumentError for another task.

    >>> read_targets(["cat", "dog", "cat"])
    Targets(task='classification', values=array([0, 1, 0]), classes=('cat', 'dog'))
    """
    if isinstance(y, Targets):
        return y
    task = choice("task", task, TASKS)
    if np.ndim(y) != 1 or not len(y):
        raise DataError(f"{name} must be (rows,), got shape {np.shape(y)}")
    column = y if isinstance(y, pd.Series) else pd.Series(np.asarray(y))
    missing = column.isna().to_numpy()
    if missing.any():
        raise DataError(
            f"{name} must have a value in every row, but it is missing in {int(missing.sum())} of {len(missing)}, "
            f"the first row {int(missing.argmax()) + 1}"
        )
    kind = column.dtype
    number = pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)
    if task == "auto":
        whole = pd.api.types.is_integer_dtype(kind) and column.nunique() <= CLASSES
        task = "regression" if number and not whole else "classification"
    return _classes(column, name) if task == "classification" else _numbers(column, name)


def _classes(column: pd.Series, name: str) -> Targets:
    if not pd.api.types.is_numeric_dtype(column.dtype):
        column = column.astype(str)
    names, values = np.unique(column.to_numpy(), return_inverse=True)
    if len(names) < 2:
        raise DataError(f"classification needs at least two classes in {name}, got 1: {str(names[0])!r:.80}")
    return Targets("classification", values, tuple(str(value) for value in names.tolist()))


def _numbers(column: pd.Series, name: str) -> Targets:
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = numbers.isna().to_numpy()
    if wrong.any():
        place = int(wrong.argmax())
        raise DataError(
            f"{name} must hold numbers for regression, got {str(column.iloc[place])!r:.80} in row {place + 1}"
        )
    values = numbers.to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"{name} must hold finite numbers, got infinity in row {int(np.isinf(values).argmax()) + 1}")
    if values.min() == values.max():
        raise DataError(f"{name} must vary to be predicted, but every value is {values[0]:g}")
    return Targets("regression", values, ())
