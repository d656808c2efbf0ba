"""The named data sets of the command line, all real and shipped with scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import datasets

from penalize.errors import ArgumentError, nearest

__all__ = ["DATA", "Data", "load_data"]


@dataclass(frozen=True)
class Data:
    """Inputs (rows, features), targets (rows,), and "classification" or "regression"."""

    name: str
    x: np.ndarray
    y: np.ndarray
    task: str


DATA: dict[str, tuple[Callable[..., Any], str]] = {
    "digits": (datasets.load_digits, "classification"),
    "breast-cancer": (datasets.load_breast_cancer, "classification"),
    "wine": (datasets.load_wine, "classification"),
    "diabetes": (datasets.load_diabetes, "regression"),
}


def load_data(name: str) -> Data:
    """The data set of this name; an unknown one is an ArgumentError that offers the nearest.

    >>> load_data("wine").x.shape
    (178, 13)
    """
    if name not in DATA:
        raise ArgumentError(f"data must be one of {', '.join(DATA)}, got {name!r}: {nearest(name, DATA)}")
    load, task = DATA[name]
    x, y = load(return_X_y=True)
    return Data(name, x, y, task)
