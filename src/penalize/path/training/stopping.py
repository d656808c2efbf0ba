"""Early stopping of each model on its own."""

from __future__ import annotations

import torch

from penalize.path.training.stacked import StackedModels

__all__ = ["Stopping"]


class Stopping:
    """Keeps the best state of each model in `whole`, and says which models are finished.

    A model is finished after `patience` epochs in a row without a validation loss below its lowest one so far. One
    whose loss is not finite is never better than before.
    """

    def __init__(self, whole: StackedModels, patience: int) -> None:
        self.whole = whole
        self.patience = patience
        self.lowest = torch.full((len(whole),), torch.inf, dtype=torch.float64)
        self.waited = torch.zeros(len(whole), dtype=torch.long)
        self.places = torch.arange(len(whole))

    def after_epoch(self, active: StackedModels, losses: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The members of `active` that go on, and the places in `whole` of those that are finished.

        `losses` are the validation losses of `active`, whose members are the models at `places`.
        """
        better = losses < self.lowest[self.places]
        improved = self.places[better]
        self.lowest[improved] = losses[better]
        self.whole.put(improved, active, torch.nonzero(better).flatten())
        self.waited[self.places] += 1
        self.waited[improved] = 0
        going_on = self.waited[self.places] < self.patience
        finished = self.places[~going_on]
        never = torch.isinf(self.lowest[finished])
        # None of its epochs was finite: its results must show that.
        self.whole.put(finished[never], active, torch.nonzero(~going_on).flatten()[never])
        self.places = self.places[going_on]
        return torch.nonzero(going_on).flatten(), finished
