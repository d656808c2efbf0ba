"""What `penalize path DATA` does."""

from __future__ import annotations

import contextlib
from pathlib import Path

from penalize.path.data import load_data
from penalize.path.files import prepare_folder
from penalize.path.grid import parse_grid
from penalize.path.network import hidden_sizes, multilayer_perceptron, rules
from penalize.path.run import regularization_path
from penalize.path.table import print_path

__all__ = ["run_path"]

FILES = ("path.csv", "path.json", "path.png")


def run_path(
    *,
    data: str,
    penalty: str,
    on: str,
    strengths: str,
    folds: int,
    epochs: int,
    batch_size: int,
    hidden: str,
    learning_rate: float,
    seed: int,
    out: Path,
) -> None:
    """Check all arguments, then the folder; train; print the table; write the files, all or none.

    Raises the errors of `regularization_path`, and ArgumentError for the rest; a folder made here for nothing is
    removed again.
    """
    sizes = hidden_sizes(hidden)
    grid = parse_grid(strengths)
    weights, activity = rules(penalty, on, sizes)
    chosen = load_data(data)
    outputs = len(set(chosen.y.tolist())) if chosen.task == "classification" else 1
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
            folds=folds,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            task=chosen.task,
            seed=seed,
        )
        path.settings.update(data=data, penalty=penalty, on=on, strengths=strengths, hidden=sizes)
        files = path.save(out)
        finished = True
    finally:
        if made and not finished:
            with contextlib.suppress(OSError):
                out.rmdir()
    seconds = path.settings["seconds"]
    print_path(path, f"{data}: {penalty} on {on}, {len(grid)} strengths x {folds} folds, {epochs} epochs")
    print(f"{len(grid) * folds} models in {seconds:.1f} s; wrote {', '.join(str(file) for file in files)}")
