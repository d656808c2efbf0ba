"""What `penalize path DATA` does."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from penalize.errors import DataError
from penalize.path.compare import compare_penalties
from penalize.path.comparison import PenaltyComparison
from penalize.path.data.named import Data, load_data
from penalize.path.factory import load_factory
from penalize.path.files import prepare_folder, remove_folders
from penalize.path.making import made_model
from penalize.path.network import PENALTIES, hidden_sizes, multilayer_perceptron, rules
from penalize.path.options import Options
from penalize.path.report.table import print_comparison, print_path
from penalize.path.result import RegularizationPath
from penalize.path.run import regularization_path
from penalize.path.training.stackable import NotStackedWarning
from penalize.path.unfinished import Unfinished
from penalize.regularizers.base import has_diagonal_prox

__all__ = ["run_path"]

FILES = ("path.csv", "path.json", "path.png", "report.html", "path.safetensors")
COMPARISON_FILES = ("comparison.csv", "comparison.json", "comparison.png", "report.html")


def run_path(options: Options, command: str) -> None:
    """Check all options, then the folder; train; print the table; write the files, all or none.

    `command` is what was typed, without `--resume`. Raises the errors of `regularization_path`, ArgumentError for the
    rest, and InterruptedPathError for Ctrl-C. Chunks that are finished are kept until the files are written; folders
    made here for nothing are removed again.
    """
    data = load_data(options.data, options.target, options.task, options.drop or (), options.category or ())
    settings = options.settings(data.task)
    # A seed that is too large is refused where the path is trained, by name.
    base, hidden = _model(options, data, settings["seed"] % 2**32)
    plans = {name: _plan(options, name, hidden, base) for name in options.penalties()}
    several = len(plans) > 1 or any("mixing" in plan for plan in plans.values())
    made = prepare_folder(options.out, COMPARISON_FILES if several else FILES)
    unfinished = Unfinished(options.out, command)
    result: RegularizationPath | PenaltyComparison
    try:
        unfinished.check(options.resume)
        settings["resume"] = unfinished.folder
        with unfinished.interruptible(), one_line_warnings():
            if several:
                result = compare_penalties(base, data.source, data.y, plans, **settings)
            else:
                ((name, plan),) = plans.items()
                result = regularization_path(base, data.source, data.y, **plan, **settings)
                result.settings["penalty"] = name
            paths = list(result.values()) if isinstance(result, PenaltyComparison) else [result]
            model = {"model": options.model} if options.model is not None else {"hidden": hidden}
            for path in paths:
                path.settings.update(data=options.data, on=options.on, **model, command=command)
                if options.refit:
                    path.refit()
            try:
                files = result.save(options.out)
            except DataError:
                # No score is finite: all is finished, and to go on would end the same.
                unfinished.remove()
                raise
        unfinished.remove()
    finally:
        unfinished.remove_if_empty()
        remove_folders(made)
    grid, folds = paths[0].fold_scores.shape
    title = f"{options.data}, {data.task}: {', '.join(plans)} on {options.on}, {grid} strengths x {folds} folds"
    if isinstance(result, PenaltyComparison):
        print_comparison(result, title)
    else:
        print_path(result, title)
    models, seconds = (sum(numbers) for numbers in zip(*map(_work, paths), strict=True))
    listed = ", ".join(map(str, files)) if len(files) < 6 else f"{options.out}/ with {len(files)} files"
    print(f"{models} models in {seconds:.1f} s; wrote {listed}")


def _model(options: Options, data: Data, seed: int) -> tuple[nn.Module, list[int]]:
    """The model that all begin as, and the sizes of its hidden layers, where it is ours."""
    features, outputs = data.source.shape, data.y.outputs
    sizes = hidden_sizes(options.hidden)
    if options.model is None:
        return made_model(lambda: multilayer_perceptron(math.prod(features), sizes, outputs), seed), sizes
    factory = load_factory(options.model)
    return made_model(factory, seed, features[0] if len(features) == 1 else features, outputs), []


def _plan(options: Options, penalty: str, hidden: list[int], base: nn.Module) -> dict[str, Any]:
    """What is a penalty's own among the arguments of `compare_penalties`."""
    weights, activity = rules(penalty, options.on, hidden, None if options.model is None else base)
    # Beside others a penalty without proximal steps takes gradient steps; alone it is an error to ask for them.
    takes = len(options.penalty) == 1 or (not activity and has_diagonal_prox(PENALTIES[penalty]))
    plan: dict[str, Any] = {"weights": weights, "activity": activity, "proximal": options.proximal and takes}
    if penalty == "l1_l2" and options.mixing is not None:
        plan["mixing"] = options.shares()
    return plan


def _work(path: RegularizationPath) -> tuple[int, float]:
    """How many models were trained, and for how long."""
    return path.fold_scores.size, float(path.settings["seconds"])


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Warnings as the command says everything: without the line of code that they come from."""

    def show(message: Any, *_: Any, **__: Any) -> None:
        sys.stderr.write(f"penalize: {' '.join(str(message).split())}\n")

    with warnings.catch_warnings():
        warnings.simplefilter("always", NotStackedWarning)
        warnings.showwarning = show
        yield
