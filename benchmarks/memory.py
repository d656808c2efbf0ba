"""Peak memory of training 25 million parameters with penalties over without, each way in a process of its own."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.saving import memory

WAYS = ("none", "bind()", "loss()", "by hand")
TURNS = 9
SIZE = 2500
"""Four square layers of this size: 100 MB of weights."""


def main() -> None:
    """Print the table."""
    # By turns, and several: a peak is moved by what the allocator had given back by then, a layer's 25 MB at a time.
    turns = [{way: float(run(way)) for way in WAYS} for _ in range(TURNS)]
    peaks = {way: statistics.median(turn[way] for turn in turns) for way in WAYS}
    weights = 4 * SIZE**2 * 4 / 1e6
    columns = ("way", "peak MB", "over none", "copies of the weights more")
    table = Table(*columns, title="Peak memory, 25 million parameters")
    for way, peak in peaks.items():
        more = peak - peaks["none"]
        table.add_row(way, f"{peak:.0f}", f"{peak / peaks['none']:.3f}", f"{more / weights:.2f}")
    Console().print(table)


def run(way: str) -> str:
    """The peak memory in MB of a process that trains in this way."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.memory", way]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]


def train(way: str) -> None:
    """Four steps of SGD with momentum; prints the peak of the memory of the weights and all that training takes."""
    import torch
    from torch import nn

    import penalize
    from penalize.regularizers import L1L2

    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(SIZE, SIZE, bias=False) for _ in range(4)))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    penalties = penalize.attach(model, weights={"*": L1L2(1e-6, 1e-5)})
    if way == "bind()":
        penalties.bind(optimizer)
    x = torch.randn(8, SIZE)
    # From here on: what stood before is not what is measured.
    before = memory("VmRSS") - 4 * SIZE**2 * 4 / 1e6
    Path("/proc/self/clear_refs").write_text("5")
    for _ in range(4):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        if way == "loss()":
            loss = loss + penalties.loss()
        elif way == "by hand":
            for weight in model.parameters():
                loss = loss + 1e-6 * weight.abs().sum() + 1e-5 * weight.square().sum()
        loss.backward()
        optimizer.step()
    print(memory("VmHWM") - before)


if __name__ == "__main__":
    train(sys.argv[1])
