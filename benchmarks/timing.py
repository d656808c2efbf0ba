"""Timing several ways of doing the same by turns, so that a slow moment of the machine hits all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

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
    """A table of milliseconds (median) and of ratios to `base`, turn by turn: median, and the quartiles as spread."""
    table = Table("way", "ms", f"over {base}", "quartiles", title=title)
    for name, own in times.items():
        ratios = [mine / other for mine, other in zip(own, times[base], strict=True)]
        table.add_row(name, f"{statistics.median(own) * 1e3:.3f}", f"{statistics.median(ratios):.3f}", spread(ratios))
    Console().print(table)


def spread(ratios: Sequence[float]) -> str:
    """The lower and the upper quartile: a moment in which the machine did something else moves neither."""
    lower, _, upper = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{lower:.3f} to {upper:.3f}"
