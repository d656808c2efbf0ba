"""The loss that each model minimizes besides its penalties, and the score that says how good it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch.func import vmap

from penalize.arguments import choice
from penalize.errors import ArgumentError, PenalizeError

__all__ = ["SCORES", "Loss", "Score", "check_loss", "choose_loss", "choose_score", "data_loss", "stacked_losses"]

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def cross_entropy(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The mean cross-entropy of logits (rows, classes) with class numbers (rows,)."""
    return F.cross_entropy(output, y)


def squared_error(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The mean squared error of outputs (rows, 1) or (rows,)."""
    return F.mse_loss(output.reshape(y.shape), y)


def data_loss(output: torch.Tensor, y: torch.Tensor, task: str) -> torch.Tensor:
    """The loss of a task where none is given: the mean cross-entropy, or the mean squared error."""
    return (cross_entropy if task == "classification" else squared_error)(output, y)


def choose_loss(loss: Any, task: str) -> Loss:
    """The loss of a task for "auto", or the callable that was given. ArgumentError for anything else."""
    if loss == "auto":
        return cross_entropy if task == "classification" else squared_error
    if callable(loss) and not isinstance(loss, type):
        chosen: Loss = loss
        return chosen
    raise ArgumentError(f'loss must be "auto" or a function (output, y) -> mean loss, got {loss!r:.80}')


def check_loss(loss: Loss, output: torch.Tensor, y: torch.Tensor) -> None:
    """ArgumentError unless the loss of an output that has a gradient is one number that has one, too."""
    try:
        value = loss(output, y)
    except Exception as error:
        shapes = f"output {tuple(output.shape)} and y {tuple(y.shape)}"
        raise ArgumentError(f"loss fails on {shapes}: {type(error).__name__}: {error}") from error
    if not (isinstance(value, torch.Tensor) and value.shape == () and value.requires_grad):
        shown = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else f"{value!r:.80}"
        shown = "a number without gradient" if isinstance(value, torch.Tensor) and value.shape == () else shown
        raise ArgumentError(f"loss must return one number that has a gradient, a mean over rows, got {shown}")


def stacked_losses(loss: Loss, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The losses (models,) of outputs (models, rows, ...), each of its own y (models, rows)."""
    if loss is cross_entropy:
        return F.cross_entropy(outputs.movedim(-1, 1), y, reduction="none").mean(1)
    if loss is squared_error:
        return (outputs.reshape(y.shape) - y).square().mean(1)
    found: torch.Tensor = vmap(loss, randomness="same")(outputs, y)
    return found


@dataclass(frozen=True)
class Score:
    """How good outputs are, higher is better: a name, and a function (output, y) of one model's validation rows."""

    name: str
    function: Callable[[torch.Tensor, torch.Tensor], Any]

    def __call__(self, output: torch.Tensor, y: torch.Tensor) -> float:
        """The score as a number, which may be NaN. PenalizeError where the function fails or gives no number."""
        try:
            value = self.function(output, y)
        except Exception as error:
            raise PenalizeError(f"score {self.name} failed: {type(error).__name__}: {error}") from error
        try:
            number = float(value)
        except (TypeError, ValueError, RuntimeError):
            raise PenalizeError(f"score {self.name} must return a number, got {value!r:.80}") from None
        return number if math.isfinite(number) else math.nan


def accuracy(output: torch.Tensor, y: torch.Tensor) -> float:
    """The share of rows whose largest output is that of their class."""
    return float((output.argmax(-1) == y).double().mean())


def r2(output: torch.Tensor, y: torch.Tensor) -> float:
    """1 - sum((y - output)**2) / sum((y - mean(y))**2)."""
    residual = (output.reshape(y.shape) - y).double()
    return float(1 - residual.square().sum() / (y - y.mean()).double().square().sum())


def neg_mean_squared_error(output: torch.Tensor, y: torch.Tensor) -> float:
    """-mean((y - output)**2), of targets scaled to deviation 1."""
    return -float((output.reshape(y.shape) - y).double().square().mean())


def neg_mean_absolute_error(output: torch.Tensor, y: torch.Tensor) -> float:
    """-mean(abs(y - output)), of targets scaled to deviation 1."""
    return -float((output.reshape(y.shape) - y).double().abs().mean())


def neg_log_loss(output: torch.Tensor, y: torch.Tensor) -> float:
    """-(mean cross-entropy of logits)."""
    return -float(F.cross_entropy(output.double(), y))


def balanced_accuracy(output: torch.Tensor, y: torch.Tensor) -> float:
    """The mean over the classes in y of the share of their rows that are found."""
    right = (output.argmax(-1) == y).double()
    return float(torch.stack([right[y == label].mean() for label in sorted(set(y.tolist()))]).mean())


SCORES: dict[str, dict[str, Callable[[torch.Tensor, torch.Tensor], float]]] = {
    "classification": {
        "accuracy": accuracy,
        "balanced_accuracy": balanced_accuracy,
        "neg_log_loss": neg_log_loss,
    },
    "regression": {
        "r2": r2,
        "neg_mean_squared_error": neg_mean_squared_error,
        "neg_mean_absolute_error": neg_mean_absolute_error,
    },
}


def choose_score(score: Any, task: str) -> Score:
    """The score of a name, of "auto" (accuracy, or R2), or of a callable. ArgumentError for anything else."""
    if callable(score):
        return Score(getattr(score, "__name__", type(score).__name__), score)
    if not isinstance(score, str):
        raise ArgumentError(f"score must be a name or a function (output, y) -> number, got {score!r:.80}")
    if score == "auto":
        score = "accuracy" if task == "classification" else "r2"
    name = choice(f"score of {task}", score, list(SCORES[task]))
    return Score("R2" if name == "r2" else name, SCORES[task][name])
