"""Timing several ways of doing the same by turns, so that a slow moment of the machine hits all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table


def by_turns(ways: dict[str, Callable[[], None]], repetitions: int, inner: int) -> dict[str, list[float]]:
    """Seconds of one call of each way in each of `repetitions` turns of `inner` calls; a first turn is not counted."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repetitions + 1):
        for name, run in ways.items():
            began = time.perf_counter()
            for _ in range(inner):
                run()
            if turn:
                times[name].append((time.perf_counter() - began) / inner)
    return times


def print_ratios(title: str, times: dict[str, list[float]], base: str) -> None:
    """A table of milliseconds (median) and of ratios to `base`, turn by turn: median, smallest and largest."""
    table = Table("way", "ms", f"over {base}", "smallest", "largest", title=title)
    for name, own in times.items():
        ratios = [mine / other for mine, other in zip(own, times[base], strict=True)]
        figures = (statistics.median(own) * 1e3, statistics.median(ratios), min(ratios), max(ratios))
        table.add_row(name, *(f"{figure:.3f}" for figure in figures))
    Console().print(table)
