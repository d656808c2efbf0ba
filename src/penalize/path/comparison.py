"""Several penalties in one call: a regularization path for each, on the same folds and from the same weights."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch import nn

from penalize.arguments import integer
from penalize.binding import attach
from penalize.errors import ArgumentError, DataError, FileFormatError, naming, nearest
from penalize.path.files import write_together
from penalize.path.grid import check_strengths
from penalize.path.making import made_model
from penalize.path.mixing import check_mixing, has_mixture, mixed
from penalize.path.plot import draw_comparison, figure_bytes
from penalize.path.report import html_report
from penalize.path.result import RegularizationPath
from penalize.path.run import regularization_path
from penalize.path.saved import path_files, read_object, write_folder
from penalize.path.sources import read_source
from penalize.path.targets import read_targets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PenaltyComparison", "compare_penalties"]

OWN_SETTINGS = ("weights", "activity", "strengths", "proximal", "mixing")
FORMAT = "penalize.comparison"
VERSION = 1
KEYS = {"format", "version", "penalties", "best", "best_1se"}
MOST_LETTERS = 200

# A path's own settings, and its share of L1 where it is one of several mixtures.
Plan = tuple[dict[str, Any], float | None]


def compare_penalties(
    model: nn.Module | Callable[..., nn.Module],
    x: Any,
    y: Any,
    penalties: Mapping[str, Mapping[str, Any]],
    **settings: Any,
) -> PenaltyComparison:
    """Train a regularization path for each of several penalties, all on the same folds and from the same first weights.

    Parameters
    ----------
    model, x, y
        As `regularization_path` takes them.
    penalties
        From names to what is a penalty's own: `weights` and `activity`, rules as `penalize.attach` takes them;
        `strengths`, `proximal`; and `mixing`, the elastic net's second axis, a list of shares from 0 to 1: for each a
        path named "name (mixing 0.5)", in which every `L1L2(l1, l2)` of the rules is
        `L1L2(l1 * share, l2 * (1 - share))`. What is not given is taken from `settings`, or has its default.
    settings
        What is common to all, as `regularization_path` takes it: folds, epochs, seed, ...

    Raises
    ------
    What `regularization_path` raises, with the penalty's name in front; ArgumentError for keys that are no settings, a
    `mixing` of rules without L1L2, and names that are none. Names, keys, rules and strengths are looked at before the
    first training.

    Examples
    --------
    >>> import torch, penalize
    >>> from sklearn.datasets import load_wine
    >>> from penalize.regularizers import L1, L1L2, L2
    >>> x, y = load_wine(return_X_y=True)
    >>> comparison = penalize.path.compare_penalties(
    ...     torch.nn.Linear(13, 3), x, y,
    ...     {"lasso": {"weights": {"weight": L1(1.0)}, "proximal": True},
    ...      "ridge": {"weights": {"weight": L2(1.0)}},
    ...      "net": {"weights": {"weight": L1L2(1.0, 1.0)}, "mixing": [0.5, 0.9], "proximal": True}},
    ...     strengths=[1e-3, 1e-1], folds=3, epochs=5, learning_rate=0.05)
    >>> list(comparison)
    ['lasso', 'ridge', 'net (mixing 0.5)', 'net (mixing 0.9)']
    >>> comparison["net (mixing 0.9)"].settings["penalties"]
    {'weight': 'L1L2(l1=0.9, l2=0.09999999999999998)'}
    >>> comparison.to_frame().shape
    (8, 7)
    """
    plans = _plans(penalties, settings)
    # Made once: a function need not make the same weights a second time.
    source, targets = read_source(x), read_targets(y, settings.get("task", "auto"))
    features = source.shape[0] if len(source.shape) == 1 else source.shape
    base = made_model(model, integer("seed", settings.get("seed", 0), least=0) % 2**32, features, targets.outputs)
    for name, (own, _) in plans.items():
        with naming(f"penalty {name!r}"):
            attach(copy.deepcopy(base), own.get("weights"), own.get("activity"))
            if own.get("strengths") is not None:
                check_strengths(own["strengths"])
    paths = {}
    resume = settings.get("resume")
    for number, (name, (own, share)) in enumerate(plans.items(), 1):
        # What is finished of one penalty is not of another.
        kept = {} if resume is None else {"resume": Path(resume) / f"penalty-{number}"}
        with naming(f"penalty {name!r}"):
            paths[name] = regularization_path(base, x, y, **{**settings, **own, **kept})
        paths[name].settings["penalty"] = name
        if share is not None:
            paths[name].settings["mixing"] = share
    return PenaltyComparison(paths)


def _plans(penalties: Any, settings: Mapping[str, Any]) -> dict[str, Plan]:
    """The plans by the names of the paths."""
    if not isinstance(penalties, Mapping) or not penalties:
        raise ArgumentError(f"penalties must be a dict from names to settings, got {penalties!r:.80}")
    for key in ("weights", "activity", "mixing"):
        if key in settings:
            raise ArgumentError(f"{key} belongs into each of penalties, not beside them")
    plans: dict[str, Plan] = {}
    for name, given in penalties.items():
        if not isinstance(name, str) or not name.strip() or len(name) > MOST_LETTERS or not name.isprintable():
            raise ArgumentError(f"penalties: a name must be printable text, got {name!r:.80}")
        if not isinstance(given, Mapping):
            raise ArgumentError(f"penalty {name!r}: expected a dict with weights or activity, got {given!r:.80}")
        for key in given:
            if key not in OWN_SETTINGS:
                raise ArgumentError(f"penalty {name!r}: unknown key {key!r:.80}: {nearest(str(key), OWN_SETTINGS)}")
        own = {key: value for key, value in given.items() if key != "mixing"}
        new: dict[str, Plan] = _mixtures(name, own, given["mixing"]) if "mixing" in given else {name: (own, None)}
        twice = sorted(new.keys() & plans.keys())
        if twice:
            raise ArgumentError(f"penalties: two paths have the name {twice[0]!r}")
        plans |= new
    return plans


def _mixtures(name: str, own: dict[str, Any], mixing: Any) -> dict[str, Plan]:
    rules = {key: own[key] for key in ("weights", "activity") if own.get(key) is not None}
    with naming(f"penalty {name!r}"):
        shares = check_mixing(mixing)
        if not any(isinstance(each, Mapping) and has_mixture(each) for each in rules.values()):
            raise ArgumentError("mixing needs an L1L2 among the rules, whose l1 and l2 it mixes")
        return {
            f"{name} (mixing {share:.6g})": ({**own, **{key: mixed(each, share) for key, each in rules.items()}}, share)
            for share in shares
        }


class PenaltyComparison(Mapping[str, RegularizationPath]):
    """Regularization paths by the names of their penalties, as `compare_penalties` trained them.

    Two are equal when they hold equal paths of the same names.
    """

    def __init__(self, paths: Mapping[str, RegularizationPath]) -> None:
        self._paths = dict(paths)

    def __getitem__(self, name: str) -> RegularizationPath:
        if name not in self._paths:
            raise ArgumentError(f"no penalty is named {name!r:.80}: {nearest(str(name), self._paths)}")
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
        cls, directory: str | os.PathLike[str], model: nn.Module | Callable[[], nn.Module] | None = None
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
            module = made_model(model, 0)
            if all(path.fits is None for path in paths.values()):
                raise ArgumentError("model has nothing to hold here: call refit() of each path before save()")
            for path in paths.values():
                path.fits = None if path.fits is None else path.fits.with_model(module)
        return cls(paths)
