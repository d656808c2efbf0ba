"""The time of `import penalize` over that of what it needs, torch; and the peak of memory of a step with penalties."""

from __future__ import annotations

import statistics
import subprocess
import sys

from rich.console import Console
from rich.table import Table

IMPORT = "import time; began = time.perf_counter(); import {}; print(time.perf_counter() - began)"
STEP = """
import resource
import torch
from torch import nn
import penalize
from penalize.regularizers import L1L2
torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Sequential(*[nn.Linear(2000, 2000, bias=False) for _ in range(5)])
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
mode = "{}"
penalties = penalize.attach(model, weights=dict([("*", L1L2(1e-5, 1e-4))])) if mode != "none" else None
if mode == "bind()":
    penalties.bind(optimizer)
x = torch.randn(8, 2000)
for _ in range(3):
    optimizer.zero_grad()
    loss = model(x).square().mean()
    if mode == "loss()":
        loss = loss + penalties.loss()
    loss.backward()
    optimizer.step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def run(code: str) -> float:
    """The number that a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Print both tables."""
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
    table = Table(
        "way", "peak MiB", "more than none, in copies of the weights", title="peak memory, 20 million weights"
    )
    peaks = {mode: statistics.median(run(STEP.format(mode)) for _ in range(3)) for mode in ("none", "bind()", "loss()")}
    for mode, peak in peaks.items():
        table.add_row(mode, f"{peak:.0f}", f"{(peak - peaks['none']) / (20e6 * 4 / 2**20):.2f}")
    Console().print(table)
