"""Folds: which rows train and validate, scaled without leakage, and the batches of each epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler

from penalize.errors import ArgumentError, DataError

__all__ = ["Folds", "make_folds"]


@dataclass(frozen=True)
class Folds:
    """All folds of one data set.

    `x` (folds, rows, features) holds all rows, scaled to mean 0 and deviation 1 of each fold's training rows; `y`
    (folds, rows) holds class numbers, or targets scaled in the same way. `train` and `validation` list rows by fold.
    """

    task: str
    classes: int
    x: torch.Tensor
    y: torch.Tensor
    train: list[torch.Tensor]
    validation: list[torch.Tensor]
    seed: int

    def __len__(self) -> int:
        return len(self.train)

    def epoch_rows(self, epoch: int) -> torch.Tensor:
        """The rows that each fold trains on in an epoch, in their order: (folds, rows of the smallest fold).

        Drawn anew from (seed, fold, epoch), so that they depend on nothing else. Folds differ in size by a few rows; a
        larger one leaves out others in each epoch, so that all have batches of the same size.
        """
        count = min(len(rows) for rows in self.train)
        drawn = []
        for fold, rows in enumerate(self.train):
            order = np.random.default_rng([self.seed, fold, epoch]).permutation(len(rows))[:count]
            drawn.append(rows[torch.from_numpy(order)])
        return torch.stack(drawn)


def make_folds(x: Any, y: Any, task: str, folds: int, seed: int, dtype: torch.dtype) -> Folds:
    """Shuffled folds, stratified by class for classification.

    Raises DataError for data that do not fit each other, ArgumentError for a number of folds below 2, above the size
    of the smallest class, or, for regression, above half the rows.
    """
    values, targets = np.asarray(x, dtype=np.float64), np.asarray(y)
    if values.ndim < 2 or targets.ndim != 1 or len(values) != len(targets):
        raise DataError(f"x must be (rows, features) and y (rows,), got shapes {values.shape} and {targets.shape}")
    if not np.isfinite(values).all():
        raise DataError("x must hold finite numbers, got NaN or infinity")
    if task == "auto":
        whole = targets.dtype.kind in "iubOUS"
        task = "classification" if whole else "regression"
    if task == "classification":
        names, targets = np.unique(targets, return_inverse=True)
        if len(names) < 2:
            raise DataError(f"classification needs at least two classes in y, got {len(names)}")
        limit, why, classes = int(np.bincount(targets).min()), "the size of the smallest class", len(names)
        splitter = StratifiedKFold
    elif task == "regression":
        targets = targets.astype(np.float64)
        if not np.isfinite(targets).all():
            raise DataError("y must hold finite numbers, got NaN or infinity")
        if targets.min() == targets.max():
            raise DataError(f"y must vary to be predicted, but every value is {targets[0]:g}")
        limit, why, classes = len(targets) // 2, "half the number of rows", 1
        splitter = KFold
    else:
        raise ArgumentError(f'task must be "auto", "classification" or "regression", got {task!r}')
    if isinstance(folds, bool) or not isinstance(folds, int | np.integer) or not 2 <= folds <= limit:
        raise ArgumentError(f"folds must be an integer from 2 to {limit}, {why}, got {folds!r}")
    scaled, wanted, train, validation = [], [], [], []
    for rows, others in splitter(int(folds), shuffle=True, random_state=seed).split(values, targets):
        flat = values.reshape(len(values), -1)
        scaled.append(torch.from_numpy(StandardScaler().fit(flat[rows]).transform(flat)).reshape(values.shape))
        wanted.append(torch.from_numpy(_scaled_targets(targets, rows) if task == "regression" else targets))
        train.append(torch.from_numpy(rows))
        validation.append(torch.from_numpy(others))
    y_all = torch.stack(wanted)
    y_all = y_all.long() if task == "classification" else y_all.to(dtype)
    return Folds(task, classes, torch.stack(scaled).to(dtype), y_all, train, validation, seed)


def _scaled_targets(y: np.ndarray, rows: np.ndarray) -> np.ndarray:
    deviation = y[rows].std()
    scaled: np.ndarray = (y - y[rows].mean()) / (deviation if deviation > 0 else 1.0)
    return scaled
