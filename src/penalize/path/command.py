"""What `penalize path DATA` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penalize.errors import ArgumentError
from penalize.path.data import load_data
from penalize.path.files import prepare_folder, remove_folders
from penalize.path.grid import parse_grid
from penalize.path.network import hidden_sizes, multilayer_perceptron, rules
from penalize.path.run import regularization_path
from penalize.path.table import print_path

__all__ = ["run_path"]

FILES = ("path.csv", "path.json", "path.png", "report.html")


def run_path(
    *,
    data: str,
    penalty: str,
    on: str,
    strengths: str,
    folds: str,
    epochs: str,
    batch_size: str,
    hidden: str,
    learning_rate: str,
    seed: str,
    proximal: bool,
    out: Path,
) -> None:
    """Check all arguments, then the folder; train; print the table; write the files, all or none.

    Raises the errors of `regularization_path`, and ArgumentError for the rest; folders made here for nothing are
    removed again.
    """
    chosen = load_data(data)
    sizes = hidden_sizes(hidden)
    grid = parse_grid(strengths)
    weights, activity = rules(penalty, on, sizes)
    outputs = len(set(chosen.y.tolist())) if chosen.task == "classification" else 1
    settings = {
        "folds": number(folds, "folds", int),
        "epochs": number(epochs, "epochs", int),
        "batch_size": number(batch_size, "batch_size", int),
        "learning_rate": number(learning_rate, "learning_rate", float),
        "seed": number(seed, "seed", int),
    }
    made = prepare_folder(out, FILES)
    finished = False
    try:
        path = regularization_path(
            lambda: multilayer_perceptron(chosen.x.shape[1], sizes, outputs),
            chosen.x,
            chosen.y,
            weights=weights,
            activity=activity,
            strengths=grid,
            task=chosen.task,
            proximal=proximal,
            **settings,
        )
        path.settings.update(data=data, penalty=penalty, on=on, strengths=strengths, hidden=sizes)
        files = path.save(out)
        finished = True
    finally:
        if not finished:
            remove_folders(made)
    print_path(path, f"{data}: {penalty} on {on}, {len(grid)} strengths x {folds} folds, {epochs} epochs")
    models = path.fold_scores.size
    print(f"{models} models in {path.settings['seconds']:.1f} s; wrote {', '.join(str(file) for file in files)}")


def number(text: str, argument: str, kind: type) -> Any:
    """The integer or number that a text holds; ArgumentError, naming the argument, when it holds none."""
    try:
        return kind(text)
    except ValueError:
        expected = "an integer" if kind is int else "a number"
        raise ArgumentError(f"{argument} must be {expected}, got {text!r}") from None
