"""`compare_penalties`: several penalties in one call, on the same folds and from the same weights."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from penalize.arguments import integer
from penalize.errors import ArgumentError, InterruptedTrainingError, naming, nearest
from penalize.path.comparison import PenaltyComparison
from penalize.path.data.sources import read_source
from penalize.path.data.targets import read_targets
from penalize.path.grid import check_strengths
from penalize.path.making import attached_penalties, made_model
from penalize.path.mixing import check_mixing, has_mixture, mixed
from penalize.path.result import RegularizationPath
from penalize.path.run import regularization_path

__all__ = ["compare_penalties"]

OWN_SETTINGS = ("weights", "activity", "strengths", "proximal", "mixing")
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
        What is common to all, as `regularization_path` takes it: folds, epochs, seed, ... A folder `resume` has a
        folder penalty-1, penalty-2, ... for each.

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
            proximal = own.get("proximal", settings.get("proximal", False))
            attached_penalties(copy.deepcopy(base), own.get("weights"), own.get("activity"), proximal)
            if own.get("strengths") is not None:
                check_strengths(own["strengths"])
    resume = settings.pop("resume", None)
    if resume is not None and not isinstance(resume, str | Path):
        raise ArgumentError(f"resume must be a folder, got {resume!r:.80}")
    paths = {}
    for number, (name, (own, share)) in enumerate(plans.items(), 1):
        folder = None if resume is None else Path(resume) / f"penalty-{number}"
        try:
            with naming(f"penalty {name!r}"):
                paths[name] = regularization_path(base, source, targets, **{**settings, **own}, resume=folder)
        except InterruptedTrainingError as error:
            # The folder to be given again is that of all penalties.
            told = str(error).replace(repr(str(folder)), repr(str(resume)))
            raise InterruptedTrainingError(f"penalty {name!r}, {number} of {len(plans)}: {told}") from None
        _share_data(paths[name], next(iter(paths.values())))
        paths[name].settings["penalty"] = name
        if share is not None:
            paths[name].settings["mixing"] = share
    return PenaltyComparison(paths)


def _share_data(path: RegularizationPath, first: RegularizationPath) -> None:
    """Let a path hold the data of the first, which are the same, so that they are in memory once."""
    if path.all_rows is not None and first.all_rows is not None:
        job = dataclasses.replace(path.all_rows.job, data=first.all_rows.job.data)
        path.all_rows = dataclasses.replace(path.all_rows, job=job)


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
