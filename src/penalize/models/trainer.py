"""Making Lightning's Trainer for one call of fit, evaluate or predict, without its chatter."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, RichProgressBar

from penalize.errors import ArgumentError

__all__ = ["make_trainer", "quiet"]


def make_trainer(
    *, epochs: int, verbose: Any, callbacks: Sequence[Any] | None = None, options: Mapping[str, Any] | None = None
) -> pl.Trainer:
    """A Trainer that shows a progress bar on a terminal, and writes no logs or checkpoints unless asked to."""
    if verbose not in ("auto", 0, 1, 2):
        raise ArgumentError(f'verbose must be "auto", 0, 1 or 2, got {verbose!r}')
    own = list(callbacks or [])
    for callback in own:
        if not isinstance(callback, Callback):
            raise ArgumentError(f"callbacks must be lightning.pytorch.Callback objects, got {type(callback).__name__}")
    bar = verbose in ("auto", 1) and sys.stdout.isatty()
    settings: dict[str, Any] = {
        "max_epochs": epochs,
        "logger": False,
        "enable_checkpointing": any(isinstance(callback, pl.callbacks.Checkpoint) for callback in own),
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "enable_progress_bar": bar,
        **(options or {}),
    }
    if bar and "callbacks" not in settings:
        own.append(RichProgressBar(leave=True))
    try:
        return pl.Trainer(callbacks=own, **settings)
    except TypeError as error:
        raise ArgumentError(f"trainer: {error}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's notices of hardware, and its advice on workers, which does not fit data in memory."""
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*but have no `val_dataloader`.*")
            warnings.filterwarnings("ignore", message=".*configure_optimizers` returned `None`.*")
            warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated", category=FutureWarning)
            warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")
            yield
    finally:
        logger.setLevel(level)
