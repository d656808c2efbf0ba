"""Other libraries in processes of their own, which wait for a line, run one turn, and answer with figures.

All are started before the first turn and take turns, so that a slow moment of the machine hits all of them. Keras's
backend is fixed when it is imported, hence a process for each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec

BACKENDS = ("jax", "tensorflow", "torch")

Figures = dict[str, float]


def missing(backend: str) -> str | None:
    """What a Keras backend lacks here; None when it can run."""
    return next((f"{name} is not installed" for name in ("keras", backend) if find_spec(name) is None), None)


class Peer:
    """A process that runs `python -m MODULE ARGUMENTS`, where `serve` is called."""

    def __init__(self, module: str, arguments: Sequence[str], backend: str = "torch") -> None:
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        # A file: a pipe that nobody reads would fill up and stop the process.
        self.messages = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.messages,
            text=True,
            env=environment,
        )
        self.error: str | None = None

    def turn(self) -> Figures | None:
        """The figures of one turn; None, with `error` set, when the process failed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if self.error is not None:
            return None
        try:
            self.process.stdin.write("turn\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.process.communicate()
            self.messages.seek(0)
            self.error = (self.messages.read().strip().splitlines() or ["no answer"])[-1][:200]
            return None
        figures: Figures = json.loads(line)
        return figures

    def close(self) -> None:
        """End the process, which stops at the end of its input."""
        if self.error is None:
            self.process.communicate()
        self.messages.close()


def serve(turn: Callable[[], Figures]) -> None:
    """In the process: the first turn, in which libraries compile, is run before any is asked for."""
    answers = os.fdopen(os.dup(1), "w")
    # Whatever the libraries print is no answer.
    os.dup2(2, 1)
    turn()
    for _ in sys.stdin:
        answers.write(json.dumps(turn()) + "\n")
        answers.flush()


def by_turns(peers: dict[str, Peer], repetitions: int) -> dict[str, list[Figures]]:
    """The figures of all turns of each peer; those of one that failed are empty. The processes end."""
    found: dict[str, list[Figures]] = {name: [] for name in peers}
    try:
        for turn in range(repetitions + 1):
            for name, peer in peers.items():
                figures = peer.turn()
                # The first turn waits until all have compiled: it is not counted.
                if turn and figures is not None:
                    found[name].append(figures)
    finally:
        for peer in peers.values():
            peer.close()
    return {name: [] if peers[name].error else figures for name, figures in found.items()}
