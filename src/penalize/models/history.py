"""History: what `fit` returns, and prints an epoch."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

__all__ = ["History", "Logs", "print_epoch"]

# A number; an array for a metric of several values.
Logs = dict[str, float | np.ndarray]


class History:
    """The logs of a training: `history` maps names ("loss", "penalty", "val_loss", metrics) to a value an epoch.

    `epoch` lists the epochs' numbers from 0, `params` the settings of the training.
    """

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params
        self.epoch: list[int] = []
        self.history: dict[str, list[Any]] = {}

    def append(self, logs: Logs) -> None:
        """Add the logs of one epoch."""
        self.epoch.append(len(self.epoch))
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={_shown(values[-1], '.4g')}" for name, values in self.history.items())
        return f"History({len(self.epoch)} epochs; last: {last})"


def print_epoch(epochs: int, epoch: int, logs: Logs) -> None:
    """One line of the logs of an epoch."""
    values = " - ".join(f"{name}: {_shown(value, '.4f')}" for name, value in logs.items())
    sys.stdout.write(f"Epoch {epoch + 1}/{epochs} - {values}\n")


def _shown(value: float | np.ndarray, form: str) -> str:
    return format(value, form) if isinstance(value, float) else str([float(format(part, form)) for part in value.flat])
