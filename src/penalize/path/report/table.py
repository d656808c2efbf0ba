"""The tables that a person sees."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from penalize.path.comparison import PenaltyComparison
from penalize.path.result import RegularizationPath

__all__ = ["print_comparison", "print_path"]


def print_path(path: RegularizationPath, title: str) -> None:
    """Print a row a strength, both choices, and what to know before they are trusted."""
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
        if strength == path.best_1se:
            # What stands below is too strong.
            table.add_section()
    console = Console()
    console.print(table)
    steps = "" if path.settings.get("proximal") else " Gradient steps make no weight exactly zero."
    console.print(f"Losses are those of the data, without the penalty.{steps}")
    console.print(f"best strength: {path.best:.6g}   one-standard-error strength: {path.best_1se:.6g}", highlight=False)
    _print_cautions(console, path.cautions)


def print_comparison(comparison: PenaltyComparison, title: str) -> None:
    """Print two rows a penalty, its best and its one-standard-error strength, and both choices among all."""
    score = comparison.score_name
    table = Table("penalty", "choice", "strength", score, "± se", "zeros", "of all", title=title)
    for column in table.columns[2:6]:
        column.justify = "right"
    (best, strength), (simplest, at) = comparison.best, comparison.best_1se
    for name, path in comparison.items():
        table.add_section()
        if all(math.isnan(value) for value in path.score.tolist()):
            table.add_row(escape(name), "none", *["-"] * 4, "not finite")
            continue
        rows = path.to_frame().set_index("strength")
        for choice, chosen, of_all in (("best", path.best, best), ("1 se", path.best_1se, simplest)):
            row = rows.loc[chosen]
            numbers = (f"{chosen:.3g}", f"{row['score']:.4f}", f"{row['score_se']:.4f}", f"{row['zeros']:.1%}")
            first = escape(name) if choice == "best" else ""
            table.add_row(first, choice, *numbers, choice if of_all == name else "")
    console = Console()
    console.print(table)
    console.print(f"best: {best} at {strength:.6g}", highlight=False, markup=False)
    console.print(
        f"one standard error: {simplest} at {at:.6g}, the most zeros of all within one standard error of the best",
        highlight=False,
        markup=False,
    )
    _print_cautions(console, comparison.cautions)


def _print_cautions(console: Console, cautions: Iterable[str]) -> None:
    for sentence in cautions:
        console.print(f"[yellow]caution:[/yellow] {escape(sentence)}", highlight=False)
