"""What `penalize path DATA` does."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from penalize.path.data import load_data
from penalize.path.factory import load_factory
from penalize.path.files import prepare_folder, remove_folders
from penalize.path.making import made_model
from penalize.path.network import hidden_sizes, multilayer_perceptron, rules
from penalize.path.options import Options
from penalize.path.run import regularization_path
from penalize.path.table import print_path
from penalize.path.unfinished import Unfinished

__all__ = ["run_path"]

FILES = ("path.csv", "path.json", "path.png", "report.html", "path.safetensors")


def run_path(options: Options, command: str) -> None:
    """Check all options, then the folder; train; print the table; write the files, all or none.

    `command` is what was typed, without `--resume`. Raises the errors of `regularization_path`, ArgumentError for the
    rest, and InterruptedPathError for Ctrl-C. Chunks that are finished are kept until the files are written; folders
    made here for nothing are removed again.
    """
    data = load_data(options.data, options.target, options.task, options.drop or (), options.category or ())
    settings = options.settings(data.task)
    sizes = hidden_sizes(options.hidden)
    features, outputs = data.source.shape, data.y.outputs
    if options.model is None:
        own = None
        base = made_model(lambda: multilayer_perceptron(math.prod(features), sizes, outputs), settings["seed"])
    else:
        given = load_factory(options.model)
        own = base = made_model(given, settings["seed"], features[0] if len(features) == 1 else features, outputs)
    weights, activity = rules(options.penalty, options.on, sizes, own)
    made = prepare_folder(options.out, FILES)
    unfinished = Unfinished(options.out, command)
    try:
        unfinished.check(options.resume)
        with unfinished.interruptible(), one_line_warnings():
            path = regularization_path(
                base, data.x, data.y, weights=weights, activity=activity, resume=unfinished.folder, **settings
            )
            path.settings.update(data=options.data, penalty=options.penalty, on=options.on, command=command)
            path.settings.update({"hidden": sizes} if options.model is None else {"model": options.model})
            if options.refit:
                path.refit()
            files = path.save(options.out)
        unfinished.remove()
    finally:
        unfinished.remove_if_empty()
        remove_folders(made)
    grid, folds = path.fold_scores.shape
    print_path(path, f"{options.data}: {options.penalty} on {options.on}, {grid} strengths x {folds} folds")
    print(f"{grid * folds} models in {path.settings['seconds']:.1f} s; wrote {', '.join(str(file) for file in files)}")


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Warnings as the command says everything: without the line of code that they come from."""

    def show(message: Any, *_: Any, **__: Any) -> None:
        sys.stderr.write(f"penalize: {' '.join(str(message).split())}\n")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
