"""The job that all ways of a comparison do: a grid of L2 strengths on the kernels of a network, cross-validated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold

from penalize.path.data.folds import Folds, make_folds

HIDDEN = (64, 64)
BATCH = 32
LEARNING_RATE = 1e-3
SEED = 0


@dataclass(frozen=True)
class Task:
    """Digits, 64-64-64-10, batch 32, Adam: so many strengths from 1e-6 to 1, folds and epochs."""

    strengths: int
    folds: int
    epochs: int

    @property
    def grid(self) -> list[float]:
        """The strengths."""
        return [float(strength) for strength in np.geomspace(1e-6, 1.0, self.strengths)]

    @cached_property
    def raw(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs (1797, 64) and targets, not scaled."""
        x, y = load_digits(return_X_y=True)
        return x.astype("float32"), y

    @cached_property
    def data(self) -> Folds:
        """Stratified folds, scaled by each one's training rows."""
        return make_folds(*load_digits(return_X_y=True), "classification", self.folds, SEED, torch.float32)

    @property
    def splitter(self) -> StratifiedKFold:
        """scikit-learn's folds, which are the same."""
        return StratifiedKFold(self.folds, shuffle=True, random_state=SEED)

    @property
    def pairs(self) -> list[tuple[float, int]]:
        """Each strength with each fold."""
        return [(strength, fold) for strength in self.grid for fold in range(self.folds)]

    @property
    def model_steps(self) -> int:
        """The optimizer's steps of all models together."""
        rows = min(len(rows) for rows in self.data.train)
        return len(self.pairs) * self.epochs * -(-rows // BATCH)

    def arrays(self, fold: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """x and y of a fold's training rows, x and y of its validation rows."""
        x, y = self.data.x, self.data.y
        train, validation = self.data.train[fold], self.data.validation[fold]
        return x[fold, train], y[fold, train], x[fold, validation], y[fold, validation]

    def best(self, scores: list[float]) -> float:
        """The best mean over folds of accuracies in the order of `pairs`."""
        return float(np.array(scores).reshape(self.strengths, self.folds).mean(1).max())
