"""Paths whose process is killed at random moments and that go on with --resume end with the same files.

`python -m tests.path.kill_and_resume` prints a line a kill, of 5; another number may stand behind it.
"""

import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KILLS = 5
COMMAND = (
    *("path", "digits", "--penalty", "l1", "--proximal", "--strengths", "1e-5:1e-1:10", "--folds", "3"),
    *("--epochs", "10", "--chunk", "3", "--refit", "--out", "out"),
)


def start(folder, command, *more):
    """The process of a command in a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "penalize", *command, *more],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """Wait for a process that must succeed."""
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {errors}")


def kept(folder):
    """How many finished chunks lie in a folder."""
    return len(list(Path(folder).glob("out/.chunks/**/chunk-*.npz")))


def files(folder):
    """What every file below a folder holds, but for times."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if path.name in ("path.json", "report.html"):
                content = re.sub(rb"seconds[^\d]{1,30}[\d.]+", b"seconds", content)
            found[str(path.relative_to(folder))] = content
    return found


def kill(folder, command, moment):
    """Start a command, kill it when `moment` returns, and let it go on; how many chunks were kept, None for too late."""
    process = start(folder, command)
    moment(process)
    late = process.poll() is not None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    chunks = kept(folder)
    finish(start(folder, command, "--resume"))
    return None if late else chunks


def main(kills):
    """Print a line a kill; returns how many ended with other files."""
    different = 0
    with tempfile.TemporaryDirectory() as parent:
        reference = Path(parent, "reference")
        reference.mkdir()
        began = time.perf_counter()
        finish(start(reference, COMMAND))
        duration = time.perf_counter() - began
        expected = files(reference)
        print(f"not killed: {duration:.1f} s, {len(expected)} files")
        done = 0
        while done < kills:
            folder = Path(tempfile.mkdtemp(dir=parent))
            after = random.uniform(0.3, 1.0) * duration
            chunks = kill(folder, COMMAND, lambda process, after=after: time.sleep(after))
            if chunks is None:
                continue
            done += 1
            got = files(folder)
            wrong = sorted(name for name in expected.keys() | got.keys() if expected.get(name) != got.get(name))
            different += bool(wrong)
            same = f"other files: {', '.join(wrong)}" if wrong else "the same files, byte for byte but for times"
            print(f"kill {done} after {after:.2f} s, {chunks} of 10 chunks kept: {same}", flush=True)
    return different


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]) if len(sys.argv) > 1 else KILLS)))
