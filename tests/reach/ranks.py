"""Processes that train together on this machine, over gloo and a file: all cases of one number of processes in one start.

`python -m tests.reach.ranks 2 DIR` runs the cases for 2 processes. Each process appends a line of JSON for each case to
DIR/<rank>.jsonl as it goes, so that a case that hangs is known by being the first without a line.
"""

import contextlib
import faulthandler
import json
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path

LIMIT = 240  # seconds, for all cases of one start, also on a busy machine
ROOT = Path(__file__).parent.parent.parent


def results(world, shared):
    """From each case to the results of all ranks; computed by the first process of tests that asks, awaited by others."""
    folder = Path(shared) / f"ranks{world}"
    try:
        folder.mkdir()
    except FileExistsError:
        end = time.monotonic() + LIMIT + 20
        while not (folder / "done").exists():
            assert time.monotonic() < end, "the process of tests that started the ranks died"
            time.sleep(0.1)
    else:
        try:
            _start(world, folder)
        finally:
            (folder / "done").touch()
    found = {}
    for rank in range(world):
        path = folder / f"{rank}.jsonl"
        for line in path.read_text().splitlines() if path.exists() else ():
            name, result, _ = json.loads(line)
            found.setdefault(name, []).append(result)
    return found, (folder / "log").read_text()


def _start(world, folder):
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.reach.ranks", str(world), str(folder)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            log.write(f"\nnot done after {LIMIT} s\n")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _run(rank, world, folder):
    import torch
    import torch.distributed as dist
    from tests.reach.distributed_cases import cases_for

    warnings.simplefilter("error")
    # What torch warns of in itself.
    warnings.filterwarnings("ignore", module=r"torch\..*")
    warnings.filterwarnings("ignore", message=r".*(?:barrier|lazy|non-writable|deprecated).*", module="torch")
    faulthandler.dump_traceback_later(LIMIT - 10)  # where it hangs, if it does
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    with open(folder / f"{rank}.jsonl", "w") as out:
        for name, case in cases_for(world).items():
            try:
                result = case()
            except BaseException:
                result = {"error": traceback.format_exc()}
            out.write(json.dumps([name, result, time.monotonic()]) + "\n")
            out.flush()
            if "error" in result:
                # The others wait for this process in vain, or would answer what it asks in the next case.
                raise SystemExit(f"rank {rank} failed in {name}")
    # A process that ends takes its connections with it. The process group is not ended: that would wait for what a case
    # left undone.
    (folder / f"{rank}.end").touch()
    while not all((folder / f"{other}.end").exists() for other in range(world)):
        time.sleep(0.05)


def main():
    # Imported once, which takes seconds; the processes are forks.
    import tests.reach.distributed_cases  # noqa: F401

    world, folder = int(sys.argv[1]), Path(sys.argv[2])
    children = []
    for rank in range(world):
        child = os.fork()
        if child == 0:
            try:
                _run(rank, world, folder)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    failed = False
    while children:
        child, status = os.wait()
        children.remove(child)
        if status and not failed:
            failed = True
            time.sleep(2)  # for the others to fail by themselves, and say why
            for other in children:
                os.kill(other, signal.SIGKILL)
    sys.exit(failed)


if __name__ == "__main__":
    main()
