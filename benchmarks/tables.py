"""A regularization path of a table of 200,000 rows with mixed columns: time, and peak memory of the process.

`python -m benchmarks.tables` prints the figures; further arguments are those of `penalize path`, behind the file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROWS = 200_000
LIMIT = 4.0
"""GiB."""
QUICK = ["--penalty", "l1", "--proximal", "--strengths", "1e-4:1e-1:8", "--epochs", "2", "--batch-size", "512"]


def mixed_table(rows: int, seed: int = 0) -> pd.DataFrame:
    """16 numbers, 8 categories of 2 to 500 levels, a date, missing values in a third of them, and two classes."""
    drawn = np.random.default_rng(seed)
    columns: dict[str, object] = {f"number_{place}": drawn.normal(10.0**place, 3, rows) for place in range(12)}
    columns |= {f"count_{place}": drawn.poisson(5, rows) for place in range(4)}
    for place, levels in enumerate((2, 3, 5, 10, 20, 60, 200, 500)):
        names = np.array([f"level {level:03}" for level in range(levels)], dtype=object)
        columns[f"category_{place}"] = names[np.minimum(drawn.geometric(3 / (levels + 2), rows) - 1, levels - 1)]
    columns["when"] = (pd.Timestamp("2020-01-01") + pd.to_timedelta(drawn.integers(0, 1500, rows), unit="D")).strftime(
        "%Y-%m-%d"
    )
    frame = pd.DataFrame(columns)
    signal = frame["number_0"] - 1 + frame["count_0"] - 5 + 2 * (frame["category_1"] == "level 001")
    for name in list(frame.columns)[::3]:
        frame[name] = frame[name].mask(drawn.random(rows) < 0.1)
    frame["target"] = np.where(signal + drawn.normal(0, 2, rows) > 0, "yes", "no")
    return frame


def main(arguments: list[str] | None = None) -> None:
    """Write the table, run the command on it, and print what it took."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "table.csv"
        mixed_table(ROWS).to_csv(file, index=False)
        size = file.stat().st_size / 2**20
        command = [sys.executable, "-m", "penalize", "path", str(file), "--out", str(Path(folder) / "out")]
        began = time.perf_counter()
        process = subprocess.Popen([*command, *(arguments or QUICK)])
        # The peak of this process alone: that of all children would be the largest of them.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"penalize path failed: exit code {os.waitstatus_to_exitcode(status)}")
    peak = usage.ru_maxrss / 2**20
    print(f"{ROWS} rows, a CSV of {size:.0f} MiB: {seconds:.1f} s, peak memory {peak:.2f} GiB (limit {LIMIT:.0f})")


if __name__ == "__main__":
    main(sys.argv[1:])
