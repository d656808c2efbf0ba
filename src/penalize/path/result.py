"""RegularizationPath: what `regularization_path` returns."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch import nn

from penalize.errors import ArgumentError
from penalize.path.cautions import cautions
from penalize.path.choice import choose, standard_error
from penalize.path.files import write_together
from penalize.path.fitted import Refit
from penalize.path.making import made_again
from penalize.path.refit import AllRows
from penalize.path.report.plot import draw_coefficients, draw_path, figure_bytes
from penalize.path.saved import path_files, read_path, write_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["RegularizationPath"]


@dataclass(eq=False)
class RegularizationPath:
    """The results of a grid of strengths, ascending.

    `strengths` (strengths,); `fold_scores`, `fold_train_losses`, `fold_val_losses` and `fold_zeros` (strengths, folds):
    the score (accuracy, or R2), the mean losses of the data without the penalty, and the share of exact zeros among the
    penalized weights (or, for activity, among the penalized outputs on validation rows). `settings` says how.

    `all_rows` is the training of all strengths on all rows, and `fits` its result. `coefficients`, `selected_features`,
    `model` and `plot_coefficients` train it when they are first asked; `refit()` does so at once. Two paths are equal
    when all numbers, the settings, and what was fitted are.

    >>> import torch, penalize
    >>> from sklearn.datasets import load_diabetes
    >>> data = load_diabetes()
    >>> path = penalize.path.regularization_path(
    ...     torch.nn.Linear(10, 1), data.data, data.target, weights={"weight": penalize.regularizers.L1(1.0)},
    ...     strengths=[0.1, 0.4], proximal=True, epochs=40, batch_size=128, learning_rate=0.02)
    >>> path.coefficients("weight").shape
    (2, 1, 10)
    >>> path.selected_features(0.4)
    [2, 3, 6, 8]
    >>> model = path.model(0.4)
    >>> [round(value, -1) for value in model(torch.tensor(data.data[:2])).flatten().tolist()]
    [190.0, 100.0]
    """

    strengths: np.ndarray
    fold_scores: np.ndarray
    fold_train_losses: np.ndarray
    fold_val_losses: np.ndarray
    fold_zeros: np.ndarray
    score_name: str
    settings: dict[str, Any] = field(default_factory=dict)
    all_rows: AllRows | None = field(default=None, repr=False)
    fits: Refit | None = field(default=None, repr=False)

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
    def zeros(self) -> np.ndarray:
        """The mean share of exact zeros over folds."""
        mean: np.ndarray = self.fold_zeros.mean(1)
        return mean

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
        finite or do not differ, a one-standard-error strength at the strongest, a leap from few zeros to nothing but
        zeros, training that has not converged."""
        zeroing = self.settings.get("zeroing_strength") if self.settings.get("proximal") is True else None
        known = float(zeroing) if isinstance(zeroing, int | float) else None
        return cautions(self.strengths, self.score, self.score_se, self.zeros, known)

    @property
    def _choices(self) -> tuple[int, int]:
        return choose(self.strengths, self.score, self.score_se)

    def refit(self, progress: bool = True) -> RegularizationPath:
        """Train all strengths on all rows, with the same settings, if that is not done yet; returns itself.

        Inputs, and targets of a regression, are scaled by all rows. ArgumentError for a path that was loaded from a
        folder into which it was saved before that.
        """
        if self.fits is None:
            if self.all_rows is None:
                raise ArgumentError(
                    "this path does not know its data any more, as one that is loaded, and its models on all rows were "
                    "not saved: call refit() before save()"
                )
            self.fits = self.all_rows.train(progress)
        return self

    def coefficients(self, name: str | None = None) -> Any:
        """Weights of the models trained on all rows, as NumPy arrays whose first axis is the strengths.

        `name` is a parameter ("0.weight"), or a module that has a `weight` ("0"; a model that is one layer is ""): an
        array (strengths, *shape). Without it: a dict of all penalized ones. They are those of scaled inputs and
        targets, as trained. Raises TargetError for a name that the model does not have, offering the nearest.
        """
        return self._fitted().coefficients(name)

    def selected_features(self, strength: float) -> list[Any]:
        """The inputs that the model of a strength, trained on all rows, still looks at.

        Those whose outgoing weights in the penalized linear layer that takes the inputs are not all zero: their names,
        where `x` was a table, else their places. Raises ArgumentError for a strength that is not of the grid,
        TargetError when no linear layer that takes the inputs is penalized.
        """
        place = self._place(strength)
        chosen = self._fitted().selected_features(place)
        names = self.settings.get("feature_names")
        return [names[place] for place in chosen] if names else chosen

    def model(self, strength: float) -> nn.Module:
        """The model of a strength, trained on all rows: a plain module without penalties, in evaluation mode.

        It takes inputs as they were given, not scaled: a fixed standardization stands in front of the module that was
        trained (`.model`). For regression its output is in the target's units, for classification it is one logit a
        class, in the order of `settings["classes"]`. Raises ArgumentError for a strength that is not of the grid, and
        for a path that was loaded without a model; DataError where the weights did not stay finite.
        """
        return self._fitted().module(self._place(strength))

    def to_frame(self) -> pd.DataFrame:
        """One row a strength: strength, train_loss, val_loss, score, score_se, zeros; means over folds."""
        # Losses of models that did not stay finite may be infinities of both signs.
        with np.errstate(invalid="ignore"):
            losses = self.fold_train_losses.mean(1), self.fold_val_losses.mean(1)
        return pd.DataFrame(
            {
                "strength": self.strengths,
                "train_loss": losses[0],
                "val_loss": losses[1],
                "score": self.score,
                "score_se": self.score_se,
                "zeros": self.zeros,
            }
        )

    def plot(self, path: str | Path | None = None) -> Figure:
        """A figure of the score with a band of one standard error, and of zeros, against strength; saved to `path`."""
        figure = draw_path(self.to_frame(), self.best, self.best_1se, self.score_name, self.settings)
        return _saved(figure, path)

    def plot_coefficients(self, path: str | Path | None = None) -> Figure:
        """A figure of a linear model's weights, trained on all rows, against strength; saved to `path`.

        Raises TargetError for models that are more than one linear layer.
        """
        weights = self._fitted().linear_coefficients()
        names = self.settings.get("feature_names") or [f"x{place}" for place in range(weights.shape[2])]
        classes = self.settings.get("classes")
        figure = draw_coefficients(self.strengths, weights, self.best, self.best_1se, names, classes)
        return _saved(figure, path)

    def save(self, directory: str | os.PathLike[str]) -> list[Path]:
        """Write path.csv, .json, .png, report.html, and path.safetensors when the models were trained on all rows.

        All or none; the folder is made. Returns the files. Raises ArgumentError for a folder that cannot be written,
        DataError when no score is finite.
        """
        folder = Path(directory)
        return write_folder(folder, path_files(self, folder))

    @classmethod
    def load(
        cls, directory: str | os.PathLike[str], model: nn.Module | Callable[..., nn.Module] | None = None
    ) -> RegularizationPath:
        """The path that `save` wrote into a folder, equal to it.

        `model(strength)` needs the module that was trained, or the function that makes it: `model`; its own weights do
        not matter. Files hold numbers and text alone: nothing is unpickled or imported. Raises FileError for files that
        are not there, FileFormatError for those that `save` did not write, or not together, ArgumentError for a model
        that has other weights.

        >>> import tempfile, torch, penalize
        >>> from sklearn.datasets import load_wine
        >>> x, y = load_wine(return_X_y=True)
        >>> path = penalize.path.regularization_path(torch.nn.Linear(13, 3), x, y, strengths=[0.01, 0.1], epochs=2,
        ...     weights={"weight": penalize.regularizers.L2(1.0)}).refit()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     files = path.save(folder)
        ...     again = penalize.path.RegularizationPath.load(folder, model=torch.nn.Linear(13, 3))
        >>> again == path, torch.equal(again.model(0.1).model.weight, path.model(0.1).model.weight)
        (True, True)
        """
        content = read_path(Path(directory))
        if model is not None:
            module = made_again(model, content["settings"])
            if content["fits"] is None:
                raise ArgumentError("model has nothing to hold here: call refit() before save()")
            content["fits"] = content["fits"].with_model(module)
        return cls(**content)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RegularizationPath):
            return NotImplemented
        arrays = ("strengths", "fold_scores", "fold_train_losses", "fold_val_losses", "fold_zeros")
        same = (np.array_equal(getattr(self, name), getattr(other, name), equal_nan=True) for name in arrays)
        own = (self.score_name, self.settings, self.fits)
        return all(same) and own == (other.score_name, other.settings, other.fits)

    __hash__ = None  # type: ignore[assignment]

    def _fitted(self) -> Refit:
        fits = self.refit().fits
        assert fits is not None
        return fits

    def _place(self, strength: float) -> int:
        """Where a strength stands in the grid; one that was written down with six digits is found."""
        if isinstance(strength, int | float | np.number) and not isinstance(strength, bool):
            nearest = int(np.argmin(np.abs(np.log(self.strengths) - np.log(max(strength, 1e-300)))))
            if np.isclose(self.strengths[nearest], strength, rtol=1e-5, atol=0):
                return nearest
            hint = f"the nearest is {self.strengths[nearest]:.6g}"
        else:
            hint = f"from {self.strengths[0]:.6g} to {self.strengths[-1]:.6g}"
        raise ArgumentError(f"strength must be one of path.strengths, {hint}, got {strength!r:.80}")


def _saved(figure: Figure, path: str | Path | None) -> Figure:
    if path is not None:
        write_together({Path(path): figure_bytes(figure)})
    return figure
