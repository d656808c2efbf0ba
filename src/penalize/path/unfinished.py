"""What the command keeps of a run that is not finished: its finished chunks, in a folder below `out`."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from penalize.errors import ArgumentError, PenalizeError

__all__ = ["InterruptedPathError", "Unfinished"]


class InterruptedPathError(PenalizeError):
    """Ctrl-C; the message says what is kept, and what to type to go on from there."""


class Unfinished:
    """The finished chunks of a run into `out`; `command` begins it anew."""

    def __init__(self, out: Path, command: str) -> None:
        self.out = out
        self.folder = out / ".chunks"
        self.command = command

    @property
    def finished(self) -> int:
        """How many chunks are kept."""
        return sum(1 for _ in self.folder.rglob("chunk-*.npz"))

    def check(self, resume: bool) -> None:
        """Raises ArgumentError where there are chunks that a new run would lose."""
        if resume:
            return
        if self.finished:
            raise ArgumentError(
                f"out holds {self._kept()} of a run that was interrupted: add --resume to go on from there, or remove "
                f"{self.folder} to begin anew"
            )
        self.remove()

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Turn Ctrl-C inside into an error that says how to go on."""
        try:
            yield
        except KeyboardInterrupt:
            if self.finished:
                message = f"interrupted: {self.folder} keeps {self._kept()}; go on by: {self.command} --resume"
            else:
                message = "interrupted: nothing was written"
            raise InterruptedPathError(message) from None

    def remove(self) -> None:
        """Remove all chunks."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def remove_if_empty(self) -> None:
        """Remove the folder when no chunk is in it."""
        if not self.finished:
            self.remove()

    def _kept(self) -> str:
        count = self.finished
        return f"{count} finished chunk{'s' if count > 1 else ''}"
