"""RegularizationPath: what `regularization_path` returns."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from penalize.path.cautions import cautions
from penalize.path.choice import choose, standard_error
from penalize.path.files import write_together
from penalize.path.plot import draw_path, figure_bytes
from penalize.path.report import html_report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["RegularizationPath"]

COLUMNS = ("strength", "train_loss", "val_loss", "score", "score_se", "zeros")


@dataclass(frozen=True)
class RegularizationPath:
    """The results of a grid of strengths, ascending.

    `strengths` (strengths,); `fold_scores`, `fold_train_losses`, `fold_val_losses` and `fold_zeros` (strengths, folds):
    the score (accuracy, or R2), the mean losses of the data without the penalty, and the share of exact zeros among the
    penalized weights (or, for activity, among the penalized outputs on validation rows). `settings` says how.
    """

    strengths: np.ndarray
    fold_scores: np.ndarray
    fold_train_losses: np.ndarray
    fold_val_losses: np.ndarray
    fold_zeros: np.ndarray
    score_name: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def score(self) -> np.ndarray:
        """The mean score over folds; NaN where a model did not stay finite."""
        finite = np.isfinite(self.fold_train_losses).all(1) & np.isfinite(self.fold_val_losses).all(1)
        return np.where(finite, self.fold_scores.mean(1), np.nan)

    @property
    def score_se(self) -> np.ndarray:
        """The standard error of the mean score over folds."""
        return np.where(np.isfinite(self.score), standard_error(self.fold_scores), np.nan)

    @property
    def best(self) -> float:
        """The strength with the best mean score; of several, the strongest."""
        return float(self.strengths[self._choices[0]])

    @property
    def best_1se(self) -> float:
        """The strongest penalty whose mean score is within one standard error of the best."""
        return float(self.strengths[self._choices[1]])

    @property
    def cautions(self) -> list[str]:
        """Sentences to read before a choice is trusted: the best strength at an edge of the grid, scores that are not
        finite or do not differ, a one-standard-error strength at the strongest."""
        return cautions(self.strengths, self.score, self.score_se, self.fold_zeros.mean(1))

    @property
    def _choices(self) -> tuple[int, int]:
        return choose(self.strengths, self.score, self.score_se)

    def to_frame(self) -> pd.DataFrame:
        """One row a strength: strength, train_loss, val_loss, score, score_se, zeros; means over folds."""
        columns = (
            self.strengths,
            self.fold_train_losses.mean(1),
            self.fold_val_losses.mean(1),
            self.score,
            self.score_se,
            self.fold_zeros.mean(1),
        )
        return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))

    def plot(self, path: str | Path | None = None) -> Figure:
        """A figure of the score with a band of one standard error, and of zeros, against strength; saved to `path`."""
        figure = draw_path(self.to_frame(), self.best, self.best_1se, self.score_name, self.settings)
        if path is not None:
            write_together({Path(path): figure_bytes(figure)})
        return figure

    def save(self, directory: str | Path) -> list[Path]:
        """Write path.csv, path.json, path.png and report.html, all or none, and return their paths."""
        folder = Path(directory)
        frame = self.to_frame()
        content = {
            "best": self.best,
            "best_1se": self.best_1se,
            "score": self.score_name,
            "rows": [dict(zip(COLUMNS, map(_json_number, row), strict=True)) for row in frame.to_numpy().tolist()],
            "fold_scores": [[_json_number(score) for score in scores] for scores in self.fold_scores.tolist()],
            "settings": self.settings,
        }
        files = {
            folder / "path.csv": frame.to_csv(index=False).encode(),
            folder / "path.json": (json.dumps(content, indent=2, allow_nan=False) + "\n").encode(),
            folder / "path.png": figure_bytes(self.plot()),
            folder / "report.html": html_report(self).encode(),
        }
        write_together(files)
        return list(files)


def _json_number(value: float) -> float | None:
    """JSON has no NaN: null says that a value is not finite."""
    return value if np.isfinite(value) else None
