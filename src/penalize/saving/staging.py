"""Weights on their way from a file into a model: all of them are read and checked before one is changed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch

from penalize.errors import ShapeError

__all__ = ["Staged"]

MOST_SHOWN = 8


class Staged:
    """What a file holds for the weights of a model, and what does not fit.

    With `at_once`, for a model that nobody has yet, values are set as they come and not kept until `commit`.
    """

    def __init__(self, what: str, model: str, at_once: bool = False) -> None:
        self.what = what
        self.model = model
        self.at_once = at_once
        self.values: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.problems: list[str] = []

    def put(self, weight: torch.Tensor, value: torch.Tensor) -> None:
        """A value for a weight, of its shape."""
        if self.at_once:
            with torch.no_grad():
                weight.copy_(value)
        else:
            self.values.append((weight, value))

    def unlike(self, label: str, expected: Any, found: Any) -> None:
        """A weight that has another shape, or dtype, in the file."""
        self.problems.append(f"{label}: expected {expected}, found {found}")

    def missing(self, label: str, expected: Any, path: str) -> None:
        """A weight that the file does not have."""
        self.problems.append(f"{label}: expected {expected}, found nothing at {path!r:.80}")

    def left_over(self, paths: Sequence[str]) -> None:
        """What the file has and the model does not."""
        self.problems.extend(f"{path[:80]!r}: not in the model" for path in paths)

    def commit(self, skip_mismatch: bool = False) -> list[str]:
        """Set the weights; the list of what was skipped.

        Raises ShapeError, naming all that does not fit, unless `skip_mismatch`, which warns.
        """
        if self.problems:
            shown = "; ".join(self.problems[:MOST_SHOWN])
            more = f"; and {len(self.problems) - MOST_SHOWN} more" if len(self.problems) > MOST_SHOWN else ""
            if not skip_mismatch:
                raise ShapeError(f"{self.what} does not fit {self.model}: {shown}{more}")
            warnings.warn(f"{self.what}: skipped {shown}{more}", stacklevel=4)
        with torch.no_grad():
            for weight, value in self.values:
                weight.copy_(value)
        return self.problems
