"""Saving and loading a model of 25 million parameters, beside `torch.save` and `torch.load` of the same tensors.

Time: each way by turns in this process, with two threads at most; the file is in the page cache when it is read.
`torch.save, fsync` is torch's file brought to the disk, as penalize does with every file; on a folder in memory (tmpfs)
that costs nothing. Set TMPDIR to measure in another folder.

Memory: each way once in fresh processes, by turns. Each imports the same and builds the model; then its peak of
resident memory is reset, so that what the building took does not hide what the way takes, and what is told is the peak
(VmHWM of /proc/self/status) beyond what it had by then (VmRSS). A process that does nothing is measured, too.
`ru_maxrss` would not do: in a started process it begins with what the process had that started it, and it cannot be
reset. Large blocks are given back at once (MALLOC_MMAP_THRESHOLD_), so that figures do not hang on its past.
Pages of a mapped file count. Linux only.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import penalize
from benchmarks.timing import by_turns, print_ratios
from penalize.saving import load_model

WIDTH, DEPTH = 2500, 4
TURNS, FRESH = 7, 3
SUFFIXES = (".keras", ".weights.h5", ".safetensors", ".pt")


def build() -> penalize.Sequential:
    """The model: four Dense layers, 2500 to 2500."""
    layers = [penalize.layers.Dense(WIDTH) for _ in range(DEPTH)]
    return penalize.Sequential([penalize.Input((WIDTH,)), *layers])


def flush(path: Path) -> None:
    """Bring a file to the disk."""
    descriptor = os.open(path, os.O_RDWR)
    os.fsync(descriptor)
    os.close(descriptor)


def saves(model: penalize.Sequential, folder: Path) -> dict[str, Callable[[], object]]:
    """The ways of saving."""
    plain = folder / "plain"

    def flushed() -> None:
        torch.save(model.state_dict(), plain)
        flush(plain)

    found: dict[str, Callable[[], object]] = {
        "torch.save": lambda: torch.save(model.state_dict(), plain),
        "torch.save, fsync": flushed,
        "save .keras": lambda: model.save(folder / "model.keras"),
    }
    for suffix in SUFFIXES[1:]:
        found[f"save_weights {suffix}"] = partial(model.save_weights, folder / f"model{suffix}")
    return found


def loads(model: penalize.Sequential, folder: Path) -> dict[str, Callable[[], object]]:
    """The ways of loading what `saves` wrote."""
    found: dict[str, Callable[[], object]] = {
        "torch.load": lambda: model.load_state_dict(torch.load(folder / "plain", weights_only=True)),
        "build, torch.load": lambda: build().load_state_dict(torch.load(folder / "plain", weights_only=True)),
        "load_model .keras": lambda: load_model(folder / "model.keras"),
    }
    for suffix in SUFFIXES[1:]:
        found[f"load_weights {suffix}"] = partial(model.load_weights, folder / f"model{suffix}")
    return found


def peak(folder: Path, way: str) -> float:
    """The memory, in MB, that a fresh process takes for this way."""
    command = [sys.executable, "-m", "benchmarks.saving", str(folder), way]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**20)}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def print_memory(folder: Path, ways: list[str]) -> None:
    """A table of the memory that each way takes beyond the model."""
    found: dict[str, list[float]] = {way: [] for way in ("nothing", *ways)}
    for _ in range(FRESH):
        for way, own in found.items():
            own.append(peak(folder, way))
    size = WIDTH * (WIDTH + 1) * DEPTH * 4 / 1e6
    table = Table("way", "MB", "over its weights", "smallest", "largest", title="peak of memory beyond the model's")
    for way, own in found.items():
        ratios = [each / size for each in own]
        table.add_row(
            way,
            f"{statistics.median(own):.0f}",
            *(f"{figure:.2f}" for figure in (statistics.median(ratios), min(ratios), max(ratios))),
        )
    Console().print(table)


def main() -> None:
    """Print the tables of time and of memory."""
    threads = torch.get_num_threads()
    torch.set_num_threads(min(2, threads))
    with tempfile.TemporaryDirectory() as name:
        folder, model = Path(name), build()
        kind = kind_of_disk(folder)
        names = []
        for what, ways, base in (
            ("save", saves(model, folder), "torch.save, fsync"),
            ("load", loads(model, folder), "torch.load"),
        ):
            times = by_turns(ways, TURNS, 1)  # type: ignore[arg-type]
            print_ratios(f"{what} 25 million parameters, 100 MB, in a folder on {kind}", times, base)
            names += list(ways)
        if Path("/proc/self/clear_refs").exists():
            print_memory(folder, names)
    torch.set_num_threads(threads)


def kind_of_disk(folder: Path) -> str:
    """The file system of a folder, where the system tells."""
    with contextlib.suppress(OSError):
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
        inside = [(len(place), kind) for place, kind in mounts if folder.resolve().is_relative_to(place)]
        return max(inside)[1]
    return "an unknown file system"


def measure(folder: Path, way: str) -> None:
    """What a fresh process does: everything is imported and the model is built; then the way, and print its peak."""
    import h5py  # noqa: F401
    import safetensors.torch  # noqa: F401

    import penalize.saving.keras_files
    import penalize.saving.weight_files  # noqa: F401

    model = build()
    ways = {"nothing": lambda: None, **saves(model, folder), **loads(model, folder)}
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    ways[way]()
    print(memory("VmHWM") - before)


def memory(what: str) -> float:
    """One of the figures that Linux has of this process, in MB."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[what].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    measure(Path(sys.argv[1]), sys.argv[2])
