"""The table that a person sees."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table

from penalize.path.result import RegularizationPath

__all__ = ["print_path"]


def print_path(path: RegularizationPath, title: str) -> None:
    """Print a row a strength, and both choices."""
    score = path.score_name
    table = Table("strength", "train loss", "val loss", score, "± se", "zeros", "", title=title)
    for column in table.columns[:6]:
        column.justify = "right"
    for strength, train_loss, val_loss, mean, error, zeros in path.to_frame().to_numpy().tolist():
        marks = [name for name, value in (("best", path.best), ("1 se", path.best_1se)) if value == strength]
        if math.isnan(mean):
            marks.append("not finite: never chosen")
        numbers = (f"{value:.4f}" for value in (train_loss, val_loss, mean, error))
        table.add_row(f"{strength:.3g}", *numbers, f"{zeros:.1%}", ", ".join(marks))
    console = Console()
    console.print(table)
    steps = "" if path.settings.get("proximal") else " Gradient steps make no weight exactly zero."
    console.print(f"Losses are those of the data, without the penalty.{steps}")
    console.print(f"best strength: {path.best:.6g}   one-standard-error strength: {path.best_1se:.6g}", highlight=False)
