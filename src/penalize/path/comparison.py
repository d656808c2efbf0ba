"""PenaltyComparison: what `compare_penalties` returns."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import nn

from penalize.errors import ArgumentError, DataError, FileFormatError, TargetError, naming, nearest
from penalize.path.files import write_together
from penalize.path.making import made_again
from penalize.path.report.page_of import html_report
from penalize.path.report.plot import draw_comparison, figure_bytes
from penalize.path.result import RegularizationPath
from penalize.path.saved import path_files, read_object, write_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PenaltyComparison"]

FORMAT = "penalize.comparison"
VERSION = 1
KEYS = {"format", "version", "penalties", "best", "best_1se"}


class PenaltyComparison(Mapping[str, RegularizationPath]):
    """Regularization paths by the names of their penalties, as `compare_penalties` trained them.

    Two are equal when they hold equal paths of the same names.
    """

    def __init__(self, paths: Mapping[str, RegularizationPath]) -> None:
        self._paths = dict(paths)

    def __getitem__(self, name: str) -> RegularizationPath:
        if name not in self._paths:
            raise TargetError(f"no penalty is named {name!r:.80}: {nearest(str(name), self._paths)}")
        return self._paths[name]

    def __contains__(self, name: object) -> bool:
        return name in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PenaltyComparison):
            return NotImplemented
        return self._paths == other._paths

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"PenaltyComparison({', '.join(self._paths)})"

    @property
    def score_name(self) -> str:
        """The score of all paths."""
        return next(iter(self._paths.values())).score_name

    @property
    def best(self) -> tuple[str, float]:
        """The name and strength of the best mean score; of several names the first, of its strengths the strongest."""
        known = [name for name in self if np.isfinite(self[name].score).any()]
        if not known:
            raise DataError("no penalty gave a finite score: lower the learning rate, or look at the data")
        name = max(known, key=lambda each: float(np.nanmax(self[each].score)))
        return name, self[name].best

    @property
    def best_1se(self) -> tuple[str, float]:
        """The name and strength of the simplest model within one standard error of the best of all.

        Of each penalty the strongest strength whose mean score is not below the best score of all minus its standard
        error; of these the one with the most exact zeros, then with the higher score. Strengths of different penalties
        cannot be compared, zeros can.
        """
        name, strength = self.best
        place = int(np.flatnonzero(self[name].strengths == strength)[0])
        error = self[name].score_se[place]
        least = self[name].score[place] - (error if np.isfinite(error) else 0.0)
        found: list[tuple[float, float, str, float]] = []
        for other, path in self.items():
            within = np.flatnonzero(np.isfinite(path.score) & (np.nan_to_num(path.score, nan=-np.inf) >= least))
            if len(within):
                last = int(within[-1])
                found.append((path.zeros[last], path.score[last], other, float(path.strengths[last])))
        _, _, chosen, at = max(found, key=lambda each: each[:2])
        return chosen, at

    @property
    def cautions(self) -> list[str]:
        """The cautions of all paths, each with the name of its penalty in front."""
        return [f"{name}: {sentence}" for name, path in self.items() for sentence in path.cautions]

    def to_frame(self) -> pd.DataFrame:
        """The rows of all paths, with the name of the penalty as the first column."""
        frames = {name: path.to_frame() for name, path in self.items()}
        return pd.concat(frames, names=["penalty"]).reset_index(level=0).reset_index(drop=True)

    def plot(self, path: str | Path | None = None) -> Figure:
        """A figure of all scores and shares of zeros against strength; saved to `path`."""
        frames = {name: each.to_frame() for name, each in self.items()}
        figure = draw_comparison(frames, self.best, self.score_name, f"{len(self)} penalties, the same folds")
        if path is not None:
            write_together({Path(path): figure_bytes(figure)})
        return figure

    def save(self, directory: str | os.PathLike[str]) -> list[Path]:
        """Write comparison.csv, .json, .png, report.html, and each path into a folder penalty-1, penalty-2, ...

        All or none; folders are made. Returns the files. Raises what `RegularizationPath.save` raises.
        """
        folder = Path(directory)
        content = {
            "format": FORMAT,
            "version": VERSION,
            "penalties": list(self),
            "best": list(self.best),
            "best_1se": list(self.best_1se),
        }
        files: dict[Path, bytes | None] = {
            folder / "comparison.csv": self.to_frame().to_csv(index=False).encode(),
            folder / "comparison.json": (json.dumps(content, indent=2) + "\n").encode(),
            folder / "comparison.png": figure_bytes(self.plot()),
            folder / "report.html": html_report(self).encode(),
        }
        for number, (name, path) in enumerate(self.items(), 1):
            with naming(f"penalty {name!r}"):
                files |= path_files(path, folder / f"penalty-{number}")
        return write_folder(folder, files)

    @classmethod
    def load(
        cls, directory: str | os.PathLike[str], model: nn.Module | Callable[..., nn.Module] | None = None
    ) -> PenaltyComparison:
        """What `save` wrote into a folder, equal to it; `model` and errors as of `RegularizationPath.load`."""
        folder = Path(directory)
        file = folder / "comparison.json"
        names = read_object(file, FORMAT, VERSION, KEYS)["penalties"]
        good = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if not good or not names or len(set(names)) < len(names):
            raise FileFormatError(f"{file}: penalties must be a list of different names, got {names!r:.80}")
        paths = {name: RegularizationPath.load(folder / f"penalty-{number}") for number, name in enumerate(names, 1)}
        for number, (name, path) in enumerate(paths.items(), 1):
            if path.settings.get("penalty") != name:
                raise FileFormatError(f"{folder / f'penalty-{number}'}: this is not the path of penalty {name!r:.80}")
        if model is not None:
            if all(path.fits is None for path in paths.values()):
                raise ArgumentError("model has nothing to hold here: call refit() of each path before save()")
            for path in paths.values():
                path.fits = None if path.fits is None else path.fits.with_model(made_again(model, path.settings))
        return cls(paths)
