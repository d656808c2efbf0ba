"""Folds: which rows train and validate, scaled without leakage, and the batches of each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import KFold, StratifiedKFold

from penalize.errors import ArgumentError, DataError
from penalize.path.data.preprocessing import FoldInputs, fold_inputs
from penalize.path.data.sources import Source, read_source
from penalize.path.data.targets import Targets, read_targets

__all__ = ["Folds", "make_folds", "split"]


@dataclass(frozen=True)
class Folds:
    """All folds of one data set.

    `x[fold, rows]` gives inputs as the model takes them, scaled by the fold's training rows, in the order of
    `feature_names` (where they have several axes: of the flattened ones). `y` (folds, rows) holds class numbers, or
    targets scaled to mean 0 and deviation 1 of the fold's training rows. `train` and `validation` list rows by fold.
    `targets` are the unscaled ones.
    """

    x: FoldInputs
    y: torch.Tensor
    train: list[torch.Tensor]
    validation: list[torch.Tensor]
    seed: int
    feature_names: tuple[str, ...]
    targets: Targets

    def __len__(self) -> int:
        return len(self.train)

    @property
    def task(self) -> str:
        """Classification or regression, in these words."""
        return self.targets.task

    @property
    def classes(self) -> int:
        """The number of classes, or 1 for regression."""
        return self.targets.outputs

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

    def whole(self) -> Folds:
        """One fold that trains and validates on all rows, scaled by all rows: what a chosen model is refitted on."""
        every = np.arange(len(self.x.table))
        x = FoldInputs(self.x.table, self.x.numeric, [every])
        return _folds(x, self.targets, [every], [every], self.seed, self.feature_names)


def make_folds(x: Any, y: Any, task: str, folds: int, seed: int, dtype: torch.dtype) -> Folds:
    """The folds of what `read_source` and `read_targets` take; raises what they and `split` raise."""
    return split(read_source(x), read_targets(y, task), folds, seed, dtype)


def split(source: Source, targets: Targets, folds: int, seed: int, dtype: torch.dtype) -> Folds:
    """Shuffled folds, stratified by class for classification.

    Raises ArgumentError for a number of folds below 2, above the size of the smallest class, or, for regression, above
    half the rows; DataError where a class has one row, or inputs and targets have not equally many.
    """
    values = targets.values
    if source.rows != len(values):
        raise DataError(f"x and y must have equally many rows, got {source.rows} and {len(values)}")
    if targets.task == "classification":
        counts = np.bincount(values)
        if counts.min() < 2:
            raise DataError(f"every class must have at least 2 rows, but {targets.classes[counts.argmin()]!r} has 1")
        limit, why = int(counts.min()), "the size of the smallest class"
        splitter = StratifiedKFold
    else:
        limit, why = len(values) // 2, "half the number of rows"
        splitter = KFold
    if isinstance(folds, bool) or not isinstance(folds, int | np.integer) or not 2 <= folds <= limit:
        raise ArgumentError(f"folds must be an integer from 2 to {limit}, {why}, got {folds!r}")
    parts = splitter(int(folds), shuffle=True, random_state=seed).split(values, values)
    train, validation = zip(*parts, strict=True)
    return _folds(fold_inputs(source, train, dtype), targets, train, validation, seed, source.names)


def _folds(
    x: FoldInputs,
    targets: Targets,
    train: Sequence[np.ndarray],
    validation: Sequence[np.ndarray],
    seed: int,
    names: tuple[str, ...],
) -> Folds:
    if targets.task == "classification":
        y = torch.from_numpy(targets.values).long().repeat(len(train), 1)
    else:
        y = torch.from_numpy(np.stack([_scaled(targets.values, rows) for rows in train])).to(x.dtype)
    by_fold = [[torch.from_numpy(rows) for rows in part] for part in (train, validation)]
    return Folds(x, y, by_fold[0], by_fold[1], seed, names, targets)


def _scaled(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    deviation = values[rows].std()
    scaled: np.ndarray = (values - values[rows].mean()) / (deviation if deviation > 0 else 1.0)
    return scaled
