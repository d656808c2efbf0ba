"""`regularization_path`: a grid of strengths, cross-validated, in one training."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import sklearn
import torch
from torch import nn

import penalize
from penalize.arguments import integer, number
from penalize.binding import attach
from penalize.errors import ArgumentError, DataError
from penalize.path.backends import train_here
from penalize.path.folds import Folds, make_folds
from penalize.path.grid import DEFAULT_GRID, check_strengths, grid_below, parse_grid
from penalize.path.job import Job, Training, plan_chunks
from penalize.path.making import made_model
from penalize.path.refit import all_rows
from penalize.path.result import RegularizationPath
from penalize.path.stacked import proximal_targets
from penalize.path.zeroing import zeroing_strength
from penalize.placement import ActivityTarget, Rules, WeightTarget
from penalize.progress import progress_bar

__all__ = ["regularization_path"]


def regularization_path(
    model: nn.Module | Callable[[], nn.Module],
    x: Any,
    y: Any,
    *,
    weights: Rules | None = None,
    activity: Rules | None = None,
    strengths: Sequence[float] | None = None,
    folds: int = 5,
    epochs: int = 30,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    proximal: bool = False,
    task: str = "auto",
    seed: int = 0,
    chunk: int = 32,
    progress: bool = True,
) -> RegularizationPath:
    """Train one model for each strength and fold, all at once, and say which strength to take.

    Every model begins with the same weights and minimizes `data loss + strength * penalties` with Adam, where the
    penalties are those of `weights` and `activity`: cross-entropy for classification, mean squared error of scaled
    targets for regression. Inputs (and regression targets) are scaled to mean 0 and deviation 1 by each fold's training
    rows. All strengths of a fold see the same batches.

    Parameters
    ----------
    model
        A module from (batch, features) to (batch, classes) logits, or (batch, 1) for regression; or a function that
        makes one, called with torch's random numbers seeded. It is copied to the CPU, where all is computed, and not
        changed.
    x, y
        Arrays (rows, features) and (rows,).
    weights, activity
        Rules as `penalize.attach` takes them; the strengths in them are multiplied by each strength of the grid.
    strengths
        Positive numbers. By default 24, evenly spaced in their logarithms: for an L1, L1L2 or GroupLasso penalty on the
        weight of a model that is one `nn.Linear`, the 4 decades below the strength that makes it zero in every fold
        (`penalize.path.zeroing`); else from 1e-6 to 1.
    folds, epochs, batch_size, learning_rate, seed
        Of the cross-validation and the training. Folds are stratified for classification.
    proximal
        Whether the penalties of weights that have a proximal step take it, in Adam's metric, after each of its steps:
        weights become exactly zero. Other penalties act by their gradients.
    task
        "classification", "regression", or "auto": classification where y holds integers or names.
    chunk
        How many models are trained in one stack; the result does not depend on it.
    progress
        Show a progress bar when stderr is a terminal.

    Raises
    ------
    ArgumentError, DataError, TargetError and their like, before training begins; each names the argument.

    Examples
    --------
    >>> import torch, penalize
    >>> from sklearn.datasets import load_wine
    >>> x, y = load_wine(return_X_y=True)
    >>> path = penalize.path.regularization_path(
    ...     lambda: torch.nn.Linear(13, 3), x, y, weights={"weight": penalize.regularizers.L2(1.0)},
    ...     strengths=[1e-3, 1e-1], folds=3, epochs=5, learning_rate=0.05)
    >>> path.to_frame().shape
    (2, 6)
    >>> bool(path.score.max() > 0.9)
    True
    """
    grid = None if strengths is None else check_strengths(strengths)
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("chunk", chunk)):
        integer(name, value)
    if integer("seed", seed, least=0) >= 2**32:
        raise ArgumentError(f"seed must be below 2**32, got {seed!r}")
    number("learning_rate", learning_rate, 0.0, above=True)
    base = made_model(model, seed)
    dtype = next(base.parameters()).dtype
    data = make_folds(x, y, task, folds, seed, dtype)
    _check_output(base, data)
    penalties = attach(base, weights=weights, activity=activity)
    if all(isinstance(target, WeightTarget) and target.frozen for target in penalties.values()):
        raise ArgumentError("there is no penalty to vary: weights and activity exclude everything, or all is frozen")
    if not isinstance(proximal, bool):
        raise ArgumentError(f"proximal must be True or False, got {proximal!r:.80}")
    if proximal and not proximal_targets(base, penalties):
        raise ArgumentError("proximal=True needs a penalty of weights that has a proximal step, such as L1")
    if grid is None:
        zeroing = zeroing_strength(base, penalties, data)
        grid = parse_grid(DEFAULT_GRID) if zeroing is None else grid_below(zeroing)
    training = Training(epochs=epochs, batch_size=batch_size, learning_rate=float(learning_rate), seed=seed)
    job = Job(base, data, tuple(grid), training, proximal)
    began = time.perf_counter()
    shape = (len(grid), len(data))
    results = {name: np.full(shape, np.nan) for name in ("train_loss", "val_loss", "score", "zeros")}
    chunks = plan_chunks(job, chunk)
    with progress_bar(len(chunks) * epochs, f"{shape[0]} strengths x {shape[1]} folds", progress) as advance:
        for pairs, result in train_here(job, chunks, advance):
            places, of_folds = zip(*pairs, strict=True)
            for name, values in results.items():
                values[places, of_folds] = getattr(result, name)
    settings = {
        "task": data.task,
        "rows": int(data.x.shape[1]),
        "features": list(data.x.shape[2:]),
        **({"classes": list(data.targets.classes)} if data.task == "classification" else {}),
        **({"feature_names": list(data.feature_names)} if isinstance(x, pd.DataFrame) else {}),
        "penalties": {name: repr(penalties[name].regularizer) for name in penalties},
        "outputs": [name for name, target in penalties.items() if isinstance(target, ActivityTarget)],
        "folds": len(data),
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "proximal": proximal,
        "seed": seed,
        "seconds": round(time.perf_counter() - began, 3),
        "versions": {
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in (penalize, torch, np, sklearn)},
        },
    }
    score_name = "accuracy" if data.task == "classification" else "R2"
    losses = results["train_loss"], results["val_loss"]
    return RegularizationPath(
        np.array(grid), results["score"], *losses, results["zeros"], score_name, settings, all_rows(job, x)
    )


def _check_output(base: nn.Module, data: Folds) -> None:
    base.eval()
    try:
        with torch.no_grad():
            output = base(data.x[0, :2])
    except RuntimeError as error:
        raise DataError(f"the model cannot take inputs of shape {tuple(data.x[0, :2].shape)}: {error}") from error
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    allowed = [(2, data.classes)] if data.task == "classification" else [(2, 1), (2,)]
    if shape not in allowed:
        raise DataError(
            f"{data.task} of {data.classes} needs a model output of shape {allowed[0]} for 2 rows, got {shape}"
        )
