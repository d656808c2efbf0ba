"""The time of `import penalize` over that of what it needs, torch."""

from __future__ import annotations

import statistics
import subprocess
import sys

from rich.console import Console
from rich.table import Table

IMPORT = "import time; began = time.perf_counter(); import {}; print(time.perf_counter() - began)"


def run(code: str) -> float:
    """The number that a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Print the table."""
    names = ("torch", "penalize")
    times = {name: [] for name in names}  # type: dict[str, list[float]]
    for _ in range(9):
        for name in names:
            times[name].append(run(IMPORT.format(name)))
    ratios = [mine / other for mine, other in zip(times["penalize"], times["torch"], strict=True)]
    table = Table("import", "s", "over torch", title="import time, fresh interpreters by turns")
    for name in names:
        ratio = statistics.median(ratios) if name == "penalize" else 1.0
        table.add_row(name, f"{statistics.median(times[name]):.3f}", f"{ratio:.3f}")
    Console().print(table)
