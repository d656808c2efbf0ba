"""The options of `penalize path`, as they were typed, and the arguments that they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penalize.arguments import choice, integer
from penalize.errors import ArgumentError
from penalize.path.grid import parse_grid
from penalize.path.training.named_losses import named_loss

__all__ = ["Options"]


@dataclass(frozen=True)
class Options:
    """Numbers are texts, so that one place says what was expected and what came."""

    data: str
    target: str | None
    task: str
    drop: list[str] | None
    category: list[str] | None
    model: str | None
    hidden: str
    penalty: list[str]
    mixing: str | None
    on: str
    proximal: bool
    strengths: str | None
    folds: str
    epochs: str
    batch_size: str
    optimizer: str
    learning_rate: str
    loss: str
    score: str
    early_stopping: str | None
    warm_start: bool
    seed: str
    chunk: str
    memory: str | None
    processes: str | None
    backend: str
    address: str | None
    refit: bool
    resume: bool
    out: Path

    def settings(self, task: str) -> dict[str, Any]:
        """The arguments of `regularization_path` for data of this task; ArgumentError for the first wrong one."""
        return {
            "strengths": None if self.strengths is None else parse_grid(self.strengths),
            "folds": number(self.folds, "folds", int),
            "epochs": number(self.epochs, "epochs", int),
            "batch_size": number(self.batch_size, "batch_size", int),
            "optimizer": self.optimizer,
            "learning_rate": number(self.learning_rate, "learning_rate", float),
            "loss": named_loss(self.loss, task),
            "score": self.score,
            "early_stopping": optional(self.early_stopping, "early_stopping", int),
            "warm_start": self.warm_start,
            "seed": integer("seed", number(self.seed, "seed", int), least=0),
            "chunk": "auto" if self.chunk == "auto" else number(self.chunk, "chunk", int),
            "memory": optional(self.memory, "memory", float),
            "processes": optional(self.processes, "processes", int),
            "backend": self._backend(),
        }

    def penalties(self) -> list[str]:
        """The names of the penalties. ArgumentError for one that is given twice, and for mixing without l1_l2."""
        for name in self.penalty:
            if self.penalty.count(name) > 1:
                raise ArgumentError(
                    f"penalty must name each penalty once, got {name!r} {self.penalty.count(name)} times"
                )
        if self.mixing is not None and "l1_l2" not in self.penalty:
            raise ArgumentError(f"mixing is of penalty l1_l2, but the penalty is {', '.join(self.penalty)}")
        return self.penalty

    def shares(self) -> list[float]:
        """The shares of L1 of a text such as "0.1,0.5,0.9"."""
        return [number(part, "mixing", float) for part in str(self.mixing).split(",")]

    def _backend(self) -> Any:
        name = choice("backend", self.backend, ("local", "ray"))
        if self.address is not None and name != "ray":
            raise ArgumentError(f"address is that of a cluster: it needs backend ray, got {name!r}")
        if name == "local":
            return name
        from penalize.path.backends.ray import ray_backend

        return ray_backend(self.address)


def optional(text: str | None, argument: str, kind: type) -> Any:
    """`number`, or None for None."""
    return None if text is None else number(text, argument, kind)


def number(text: str, argument: str, kind: type) -> Any:
    """The integer or number that a text holds; ArgumentError, naming the argument, when it holds none."""
    try:
        return kind(text)
    except ValueError:
        expected = "an integer" if kind is int else "a number"
        raise ArgumentError(f"{argument} must be {expected}, got {text!r}") from None
