"""skorch's classifier with an L2 penalty of kernels in its loss, as its documentation shows."""

from __future__ import annotations

from typing import Any

from skorch import NeuralNetClassifier
from torch import nn


class PenalizedClassifier(NeuralNetClassifier):
    """`strength` times the sum of squares of all kernels is added to the loss."""

    def __init__(self, *args: Any, strength: float = 0.0, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.strength = strength

    def get_loss(self, y_pred: Any, y_true: Any, *args: Any, **settings: Any) -> Any:
        loss = super().get_loss(y_pred, y_true, *args, **settings)
        kernels = [module.weight for module in self.module_.modules() if isinstance(module, nn.Linear)]
        return loss + self.strength * sum(kernel.square().sum() for kernel in kernels)
