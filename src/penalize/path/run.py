"""`regularization_path`: a grid of strengths, cross-validated, in one training."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from torch import nn

import penalize
from penalize.arguments import integer, number
from penalize.binding import Penalties
from penalize.errors import ArgumentError, DataError, InterruptedTrainingError, PenalizeError
from penalize.path.backends.local import Backend, choose_backend
from penalize.path.backends.store import Stored, open_store
from penalize.path.backends.workers import cannot_be_sent
from penalize.path.data.folds import Folds, split
from penalize.path.data.sources import TableSource, read_source
from penalize.path.data.targets import read_targets
from penalize.path.grid import DEFAULT_GRID, check_strengths, grid_below, parse_grid
from penalize.path.making import attached_penalties, made_model
from penalize.path.refit import all_rows
from penalize.path.result import RegularizationPath
from penalize.path.training.job import Chunk, Job, Training, plan_chunks, stages
from penalize.path.training.objective import check_loss, choose_loss, choose_score
from penalize.path.training.optimization import choose_optimizer
from penalize.path.training.sizes import chunk_size
from penalize.path.training.stackable import NotStackedWarning, why_not_stacked
from penalize.path.zeroing import zeroing_strength
from penalize.placement import ActivityTarget, Rules
from penalize.progress import progress_bar

__all__ = ["regularization_path"]


def regularization_path(
    model: nn.Module | Callable[..., nn.Module],
    x: Any,
    y: Any,
    *,
    weights: Rules | None = None,
    activity: Rules | None = None,
    strengths: Sequence[float] | None = None,
    folds: int = 5,
    epochs: int = 30,
    batch_size: int = 32,
    optimizer: Any = "adam",
    learning_rate: float = 1e-3,
    proximal: bool = False,
    loss: Any = "auto",
    score: Any = "auto",
    task: str = "auto",
    early_stopping: int | None = None,
    warm_start: bool = False,
    chunk: Any = "auto",
    memory: float | None = None,
    backend: Any = "local",
    processes: int | None = None,
    resume: str | Path | None = None,
    seed: int = 0,
    progress: bool = True,
) -> RegularizationPath:
    """Train one model for each strength and fold, many at once, and say which strength to take.

    Every model begins with the same weights and minimizes `data loss + strength * penalties`, where the penalties are
    those of `weights` and `activity`. Inputs (and regression targets) are scaled to mean 0 and deviation 1 by each
    fold's training rows. All strengths of a fold see the same batches, and all models drop out the same units. A model
    of the stack is the model that is trained alone, up to rounding.

    Parameters
    ----------
    model
        A module from (batch, features) to (batch, classes) logits, or (batch, 1) for regression; or a function that
        makes one, called with torch's random numbers seeded, and with (features, outputs) when it requires arguments.
        It is copied to the CPU, where all is computed, and not changed.
    x, y
        Arrays (rows, features, ...) and (rows,); or a DataFrame and one of its columns. NaN in x is a missing value.
        Each fold fills missing numbers by the median of its training rows (a further input says where), and scales
        numbers. A category of a DataFrame (text, bool, pandas' categories) has an input for each level of the whole
        column, missing being one; of more than 50, the 49 most frequent and one for the others; a level that no
        training row of a fold has is 0 in all rows of that fold. Dates are days since 1970.
    weights, activity
        Rules as `penalize.attach` takes them; the strengths in them are multiplied by each strength of the grid.
    strengths
        Positive numbers. By default 24, evenly spaced in their logarithms: for an L1, L1L2 or GroupLasso penalty on the
        weight of a model that is one `nn.Linear`, the 4 decades below the strength that makes it zero in every fold
        (`penalize.path.zeroing`); else from 1e-6 to 1. The mean squared error has no factor one half: in scikit-learn's
        terms, `alpha` of a Lasso is strength * l1 / 2; of an elastic net of L1L2(l1, l2), alpha * l1_ratio is
        strength * l1 / 2, and alpha * (1 - l1_ratio) is strength * l2.
    folds, epochs, batch_size, seed
        Of the cross-validation and the training. Folds are stratified for classification.
    optimizer, learning_rate
        A name or class of `torch.optim` (SGD, Adam, AdamW, NAdam, RAdam, RMSprop, Adagrad, Adadelta, Adamax), trained
        at `learning_rate`; or, with settings of its own that count, a `functools.partial` of such a class or a spec of
        `penalize.optimizers`. Optimizers that mix the elements of a weight are refused.
    proximal
        Whether the penalties of weights that have a proximal step take it, in the optimizer's metric, after each of its
        steps: weights become exactly zero. Other penalties act by their gradients.
    loss
        "auto": the mean cross-entropy for classification, the mean squared error of scaled targets for regression; or a
        function (output, y) -> mean loss of a batch, of torch operations.
    score
        "auto": accuracy, or R2 for regression; a name: "accuracy", "balanced_accuracy", "neg_log_loss"; "r2",
        "neg_mean_squared_error", "neg_mean_absolute_error" (of scaled targets); or a function (output, y) -> number of
        one model's validation rows. Higher is better. A strength with a score that is NaN is never chosen.
    task
        "classification", "regression", or "auto": classification where y holds names, bool, or integers of at most 50
        values.
    early_stopping
        After how many epochs without a lower validation loss a model is finished; it ends with the weights of its best
        epoch and leaves the others, which take less time from then on. Its validation rows have then had a say in its
        training. None: all train for `epochs`.
    warm_start
        Whether each strength begins with the weights that the next weaker one of its fold ended with, the weakest with
        those of `model`: from dense to sparse, since weights that are zero rarely come back. Strengths are then trained
        one after another, with their folds at once, so that `resume` keeps whole folds alone: with chunk=1 one by one.
    chunk, memory
        How many models are trained at once, and how many MiB that may take above what processes hold already (Python,
        libraries, the data); the result does not depend on them but for rounding. "auto": as many as is fast, and fits
        into `memory`. Several processes share `memory` evenly.
    backend, processes
        "local": this machine, in so many processes; "ray": see `penalize.path.backends.ray.ray_backend`, which also
        takes the address of a cluster; or a function (job, chunks, advance), a `penalize.path.backends.local.Backend`.
        By default one process for models that can be stacked, which uses torch's threads, and one a core for those that
        cannot.
    resume
        A folder for what is finished, made if it is not there. A call that was interrupted goes on from there when
        repeated with the same arguments, and has the same results bit for bit (on the same machine).
    progress
        Show a progress bar when stderr is a terminal.

    A model that cannot be stacked (the first step is compared with that of the model alone) is trained once for each
    strength and fold, in `processes` worker processes; a NotStackedWarning says why.

    Raises
    ------
    ArgumentError, DataError, TargetError and their like, before training begins; each names the argument.
    InterruptedTrainingError
        For Ctrl-C, a KeyboardInterrupt that says what is kept.
    PenalizeError
        When training fails, or a worker process ends.

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
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        integer(name, value)
    for name, optional in (("early_stopping", early_stopping), ("processes", processes)):
        if optional is not None:
            integer(name, optional)
    if chunk != "auto":
        integer("chunk", chunk)
    if memory is not None:
        number("memory", memory, 0.0, above=True)
    if integer("seed", seed, least=0) >= 2**32:
        raise ArgumentError(f"seed must be below 2**32, got {seed!r}")
    if not isinstance(warm_start, bool):
        raise ArgumentError(f"warm_start must be True or False, got {warm_start!r:.80}")
    chosen_optimizer = choose_optimizer(optimizer, number("learning_rate", learning_rate, 0.0, above=True))
    source, targets = read_source(x), read_targets(y, task)
    base = made_model(model, seed, source.shape[0] if len(source.shape) == 1 else source.shape, targets.outputs)
    data = split(source, targets, folds, seed, next(base.parameters()).dtype)
    output = _checked_output(base, data)
    chosen_loss = choose_loss(loss, data.task)
    check_loss(chosen_loss, output.requires_grad_(), data.y[0, :2])
    penalties = attached_penalties(base, weights, activity, proximal)
    zeroing = None
    if grid is None:
        zeroing = zeroing_strength(base, penalties, data) if loss == "auto" else None
        grid = parse_grid(DEFAULT_GRID) if zeroing is None else grid_below(zeroing)
    training = Training(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=chosen_optimizer,
        loss=chosen_loss,
        score=choose_score(score, data.task),
        seed=seed,
        early_stopping=early_stopping,
        warm_start=warm_start,
    )
    job = Job(base, data, tuple(grid), training, proximal)
    began = time.perf_counter()
    job, workers = _stacked_or_not(job, processes)
    size = chunk_size(job, None if chunk == "auto" else chunk, None if memory is None else memory / workers)
    chunks = plan_chunks(job, size if job.stacked else 1)
    trains: Backend = choose_backend(backend, workers)
    stored = trains if resume is None else Stored(trains, open_store(resume, job, chunks))
    results = _collected(stored, job, chunks, progress, resume)
    settings = {
        **_settings(job, penalties, size),
        **({"feature_names": list(data.feature_names)} if isinstance(source, TableSource) else {}),
        **({} if zeroing is None else {"zeroing_strength": zeroing}),
        "optimizer": str(chosen_optimizer),
        "learning_rate": learning_rate,
        "loss": loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__),
        "seconds": round(time.perf_counter() - began, 3),
    }
    return RegularizationPath(
        strengths=np.array(grid),
        fold_scores=results["score"],
        fold_train_losses=results["train_loss"],
        fold_val_losses=results["val_loss"],
        fold_zeros=results["zeros"],
        score_name=training.score.name,
        settings={name: value.item() if isinstance(value, np.generic) else value for name, value in settings.items()},
        all_rows=all_rows(job, source, trains, size if job.stacked else 1, results["epochs"]),
    )


def _settings(job: Job, penalties: Penalties, size: int) -> dict[str, Any]:
    """What the job says of a path; the versions are those of this process."""
    data, training = job.data, job.training
    return {
        "task": data.task,
        "rows": int(data.x.shape[1]),
        "features": list(data.x.shape[2:]),
        **({"classes": list(data.targets.classes)} if data.task == "classification" else {}),
        "penalties": {name: repr(penalties[name].regularizer) for name in penalties},
        "outputs": [name for name, target in penalties.items() if isinstance(target, ActivityTarget)],
        "folds": len(data),
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "proximal": job.proximal,
        "early_stopping": training.early_stopping,
        "warm_start": training.warm_start,
        "seed": training.seed,
        "stacked": job.stacked,
        "chunk": size if job.stacked else 1,
        "versions": {
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in (penalize, torch, np, sklearn)},
        },
    }


def _stacked_or_not(job: Job, processes: int | None) -> tuple[Job, int]:
    """The job, not stacked if it cannot be, and the number of processes; a warning says why."""
    why = why_not_stacked(job)
    if why is None:
        return job, processes or 1
    alone = dataclasses.replace(job, stacked=False)
    workers = processes or os.cpu_count() or 1
    unsent = cannot_be_sent(alone) if workers > 1 else None
    if unsent is not None:
        workers = 1
    where = f"in {workers} worker processes" if workers > 1 else "in this process"
    besides = "" if unsent is None else f"; worker processes cannot have it: {unsent}"
    warnings.warn(
        f"this model cannot be trained in a stack ({why}): its models are trained one after another, {where}{besides}",
        NotStackedWarning,
        stacklevel=3,
    )
    return alone, workers


def _collected(
    backend: Backend, job: Job, chunks: Sequence[Chunk], progress: bool, resume: str | Path | None
) -> dict[str, np.ndarray]:
    """Arrays (strengths, folds) by what they hold, from all chunks."""
    shape = (len(job.strengths), len(job.data))
    results = {name: np.full(shape, np.nan) for name in ("train_loss", "val_loss", "score", "zeros", "epochs")}
    steps = job.training.epochs * sum(len(stages(job, chunk)) for chunk in chunks)
    finished = 0
    try:
        with progress_bar(steps, f"{shape[0]} strengths x {shape[1]} folds", progress) as advance, _clear_errors():
            for pairs, result in backend(job, chunks, advance):
                places, of_folds = zip(*pairs, strict=True)
                for name, values in results.items():
                    values[places, of_folds] = getattr(result, name)
                finished += 1
    except KeyboardInterrupt:
        done = f"interrupted with {finished} of {len(chunks)} chunks finished"
        if resume is None:
            message = f"{done}, of which nothing is kept; pass resume=FOLDER to go on from what is finished next time"
        else:
            message = f"{done}, which are kept; call again with resume={str(resume)!r} to go on from there"
        raise InterruptedTrainingError(message) from None
    return results


@contextlib.contextmanager
def _clear_errors() -> Iterator[None]:
    """What a model's own code raises while it is trained, as one line of ours."""
    try:
        yield
    except PenalizeError:
        raise
    except Exception as error:
        raise PenalizeError(f"training failed: {type(error).__name__}: {error}") from error


def _checked_output(base: nn.Module, data: Folds) -> torch.Tensor:
    base.eval()
    shape_in = tuple(data.x[0, :2].shape)
    try:
        with torch.no_grad():
            output: Any = base(data.x[0, :2])
    except Exception as error:
        raise DataError(f"the model cannot take inputs of shape {shape_in}: {error}") from error
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    allowed = [(2, data.classes)] if data.task == "classification" else [(2, 1), (2,)]
    if isinstance(output, torch.Tensor) and shape in allowed:
        return output
    raise DataError(f"{data.task} of {data.classes} needs a model output of shape {allowed[0]} for 2 rows, got {shape}")
