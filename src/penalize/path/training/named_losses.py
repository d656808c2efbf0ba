"""The losses that the command line has names for."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from penalize.arguments import choice
from penalize.path.training.objective import Loss, cross_entropy, squared_error

__all__ = ["LOSSES", "named_loss"]


def absolute_error(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The mean absolute error of outputs (rows, 1) or (rows,)."""
    return F.l1_loss(output.reshape(y.shape), y)


def huber(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The mean of Huber's loss with delta 1, of targets scaled to deviation 1."""
    return F.huber_loss(output.reshape(y.shape), y)


LOSSES: dict[str, dict[str, Loss]] = {
    "classification": {"cross_entropy": cross_entropy},
    "regression": {"squared_error": squared_error, "absolute_error": absolute_error, "huber": huber},
}


def named_loss(name: str, task: str) -> Any:
    """The loss of this name for a task; "auto" stays. ArgumentError for another name."""
    chosen = choice(f"loss of {task}", name, ("auto", *LOSSES[task]))
    return chosen if chosen == "auto" else LOSSES[task][chosen]
