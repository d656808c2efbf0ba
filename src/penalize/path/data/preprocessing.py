"""One table for all folds, and each fold's own scaling of it, fitted on the fold's training rows only.

Every step of preprocessing fills a column, or is linear in it. So the rows are held once, and what differs between
folds (the median that fills, the mean, the deviation, the levels that the training rows hold) is three numbers a fold
and column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

from penalize.path.data.sources import Source

__all__ = ["FoldInputs", "fold_inputs"]

COLUMNS_AT_ONCE = 64
# Up to this size the folds' inputs are computed once; beyond it they would be held as often as there are folds.
COMPUTED_ONCE = 64 * 2**20


class FoldInputs:
    """The inputs of all folds as one tensor (folds, rows, ...); a large one is computed where it is looked at.

    `inputs[fold, rows]` takes an integer and a slice, or index tensors that broadcast against each other;
    `inputs[fold]` is all rows. In each fold missing numbers are filled by the median, and numbers are scaled to mean 0
    and deviation 1, all those of the fold's training rows; an input that is constant there is 0 in every row of the
    fold, for nothing could be learned of it.

    `table` (rows, ...) is what `Source.table` gives, `numeric` (inputs,) says which inputs are scaled, and `train`
    lists the training rows of each fold.
    """

    def __init__(self, table: torch.Tensor, numeric: np.ndarray, train: Sequence[np.ndarray]) -> None:
        # NumPy has no bfloat16.
        flat = (table if table.dtype == torch.float64 else table.float()).flatten(1).numpy()
        fitted = [_fit(flat, numeric, rows) for rows in train]
        fill, shift, factor = (torch.from_numpy(np.stack(part)).to(table.dtype) for part in zip(*fitted, strict=True))
        self.table = table
        self.numeric = numeric
        self.fill = fill if bool(table.isnan().any()) else None
        self.shift = shift.reshape(-1, *table.shape[1:])
        self.factor = factor.reshape(-1, *table.shape[1:])
        self.computed: torch.Tensor | None = None
        if self.shape.numel() * table.element_size() <= COMPUTED_ONCE:
            self.computed = torch.stack([self[fold] for fold in range(len(train))])

    @property
    def shape(self) -> torch.Size:
        """(folds, rows, ...)."""
        return torch.Size((len(self.shift), *self.table.shape))

    @property
    def dtype(self) -> torch.dtype:
        """That of the values."""
        return self.table.dtype

    def __getitem__(self, place: Any) -> torch.Tensor:
        if self.computed is not None:
            return self.computed[place]
        fold, rows = place if isinstance(place, tuple) else (place, slice(None))
        values = self.table[rows]
        if self.fill is not None:
            values = torch.where(values.isnan(), self.fill[fold], values)
        return (values - self.shift[fold]) * self.factor[fold]


def fold_inputs(source: Source, train: Sequence[np.ndarray], dtype: torch.dtype) -> FoldInputs:
    """The inputs of a source for folds with these training rows, in the dtype of the models."""
    kind = np.dtype(np.float64 if dtype == torch.float64 else np.float32)
    table = torch.from_numpy(source.table(kind)).to(dtype)
    return FoldInputs(table.reshape(-1, *source.shape), source.numeric, train)


def _fit(table: np.ndarray, numeric: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What fills, shifts and multiplies each column, by its values in these rows; a few columns at once."""
    width = table.shape[1]
    fill, shift, factor = np.zeros(width), np.zeros(width), np.ones(width)
    numbers, others = np.flatnonzero(numeric), np.flatnonzero(~numeric)
    for start in range(0, len(numbers), COLUMNS_AT_ONCE):
        part = numbers[start : start + COLUMNS_AT_ONCE]
        values = table[np.ix_(rows, part)].astype(np.float64)
        imputer = SimpleImputer(strategy="median", keep_empty_features=True)
        filled = imputer.fit_transform(values)
        scaler = StandardScaler().fit(filled)
        fill[part] = imputer.statistics_
        shift[part] = scaler.mean_
        factor[part] = np.where(np.ptp(filled, axis=0) == 0, 0.0, 1 / scaler.scale_)
    for start in range(0, len(others), COLUMNS_AT_ONCE):
        part = others[start : start + COLUMNS_AT_ONCE]
        factor[part] = np.ptp(table[np.ix_(rows, part)], axis=0)
    return fill, shift, factor
