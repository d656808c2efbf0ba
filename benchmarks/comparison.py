"""The same regularization path through penalize and through what people do now: wall time, model-steps, best score.

`python -m benchmarks.comparison` is a small job, `--full` that of 32 strengths x 5 folds, a quarter of an hour a turn;
other sizes by `--strengths`, `--folds`, `--epochs`, `--turns`. `--ways "plain,Keras on torch"` are these alone beside
penalize (parts of names). Each way runs in a process of its own; all take turns.
Imports and the first use of a library are not counted, building and compiling each model is, where a library does that.
scikit-learn's search runs in two processes. LassoNet has its own penalty, of features, and its own path.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from importlib.util import find_spec

from rich.console import Console
from rich.table import Table

from benchmarks.comparison_task import Task
from benchmarks.peers import BACKENDS, Figures, Peer, by_turns, missing

SMALL, FULL = Task(strengths=4, folds=2, epochs=2), Task(strengths=32, folds=5, epochs=5)
OURS = "penalize"
# What each way is called, the way, and the library that it needs.
WAYS = {
    OURS: ("penalize", "torch"),
    "plain PyTorch loop": ("plain", "torch"),
    "plain, pool of two": ("pool", "torch"),
    "GridSearchCV, skorch": ("skorch", "skorch"),
    "LassoNet": ("lassonet", "lassonet"),
}


def main(task: Task = SMALL, turns: int = 2, only: Sequence[str] = ("",)) -> None:
    """Print the table of a task, of penalize and of the ways in whose names one of `only` stands."""
    sizes = [str(size) for size in (task.strengths, task.folds, task.epochs)]
    peers, left_out = {}, {}
    for name, (way, library) in WAYS.items():
        if name != OURS and not any(part in name for part in only):
            continue
        if find_spec(library) is None:
            left_out[name] = f"{library} is not installed"
        else:
            peers[name] = Peer("benchmarks.comparison_ways", (way, *sizes))
    for backend in BACKENDS:
        name, lacking = f"Keras on {backend}", missing(backend)
        if not any(part in name for part in only):
            continue
        if lacking:
            left_out[name] = lacking
        else:
            peers[name] = Peer("benchmarks.comparison_ways", ("keras", *sizes), backend)
    found = by_turns(peers, turns)
    left_out |= {name: peer.error for name, peer in peers.items() if peer.error}
    title = (
        f"{task.strengths} strengths x {task.folds} folds x {task.epochs} epochs on digits, 64-64-64-10, batch 32: "
        f"{task.model_steps} model-steps, medians of {turns} turns"
    )
    table = Table("way", "seconds", "steps/s", "over penalize", "smallest", "largest", "best score", title=title)
    for name, figures in found.items():
        if figures:
            table.add_row(name, *_row(task, name, figures, found[OURS]))
    for name, reason in left_out.items():
        table.add_row(name, reason)
    Console().print(table)


def _row(task: Task, name: str, figures: list[Figures], ours: list[Figures]) -> list[str]:
    seconds = statistics.median(turn["seconds"] for turn in figures)
    ratios = [turn["seconds"] / own["seconds"] for turn, own in zip(figures, ours, strict=False)]
    # LassoNet trains its dense model besides.
    steps = task.model_steps * (1 + 1 / task.strengths if "LassoNet" in name else 1)
    shown = [f"{ratio:.1f}" for ratio in (statistics.median(ratios), min(ratios), max(ratios))] if ratios else [""] * 3
    return [f"{seconds:.2f}", f"{steps / seconds:.0f}", *shown, f"{figures[0]['score']:.4f}"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="32 strengths x 5 folds x 5 epochs")
    for size in ("strengths", "folds", "epochs"):
        parser.add_argument(f"--{size}", type=int)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--ways", default="", help="parts of the names of ways, with commas; all by default")
    given = parser.parse_args()
    start = FULL if given.full else SMALL
    asked = {size: getattr(given, size) or getattr(start, size) for size in ("strengths", "folds", "epochs")}
    main(Task(**asked), given.turns, given.ways.split(","))
