"""By how much gradients were clipped, for the proximal steps that follow."""

from __future__ import annotations

import torch

__all__ = ["Clipping"]


class Clipping:
    """By how much an optimizer's gradients were clipped, averaged as its momentum averages gradients.

    A gradient that was scaled by 0.5 five steps ago is still part of the step: the threshold must be so, too. With the
    last coefficient alone the steps can end in a cycle around the solution.
    """

    def __init__(self) -> None:
        self.coefficient = 1.0
        self.averages: list[float] = []

    def of_step(self, optimizer: torch.optim.Optimizer) -> list[float]:
        """The average for each parameter group, this step's coefficient in it; the next step begins with 1."""
        now, self.coefficient = self.coefficient, 1.0
        before = self.averages + [now] * (len(optimizer.param_groups) - len(self.averages))
        rates = [
            group["betas"][0] if "betas" in group else group.get("momentum", 0) for group in optimizer.param_groups
        ]
        self.averages = [rate * old + (1 - rate) * now for rate, old in zip(rates, before, strict=True)]
        return self.averages
