"""History: what `fit` returns, and prints an epoch."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["History", "print_epoch"]


class History:
    """The logs of a training: `history` maps names ("loss", "penalty", "val_loss", metrics) to a value an epoch.

    `epoch` lists the epochs' numbers from 0, `params` the settings of the training.
    """

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def append(self, logs: dict[str, float]) -> None:
        """Add the logs of one epoch."""
        self.epoch.append(len(self.epoch))
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={values[-1]:.4g}" for name, values in self.history.items())
        return f"History({len(self.epoch)} epochs; last: {last})"


def print_epoch(epochs: int, epoch: int, logs: dict[str, float]) -> None:
    """One line of the logs of an epoch."""
    values = " - ".join(f"{name}: {value:.4f}" for name, value in logs.items())
    sys.stdout.write(f"Epoch {epoch + 1}/{epochs} - {values}\n")
