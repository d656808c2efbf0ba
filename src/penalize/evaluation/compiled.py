"""One generated kernel for the gradients of many weights: each is read and written once, whatever it pays."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch

from penalize.errors import BindError

__all__ = ["Kernel"]


def _add_gradients(
    gradients: Sequence[torch.Tensor], weights: Sequence[torch.Tensor], l1: torch.Tensor, l2: torch.Tensor
) -> None:
    for index, (gradient, weight) in enumerate(zip(gradients, weights, strict=True)):
        gradient.add_(torch.sign(weight) * l1[index] + weight * (2 * l2[index]))


@functools.cache
def _generated() -> Any:
    return torch.compile(_add_gradients, fullgraph=True, dynamic=False)


class Kernel:
    """`g[i] += l1[i] sign(x[i]) + 2 l2[i] x[i]`, in place, compiled by `torch.compile` for the shapes of some weights.

    Strengths are its inputs: others need no new one.
    """

    def __init__(self, weights: Sequence[torch.Tensor], l1: Sequence[float], l2: Sequence[float]) -> None:
        self.weights = list(weights)
        dtype = torch.float64 if weights[0].dtype == torch.float64 else torch.float32
        self.l1, self.l2 = (torch.tensor(each, dtype=dtype, device=weights[0].device) for each in (l1, l2))

    @torch.no_grad()
    def prepare(self) -> None:
        """Generate it now; a `BindError` when that cannot be done here."""
        try:
            self.add([torch.zeros_like(weight) for weight in self.weights])
        except Exception as error:
            raise BindError(
                f"bind(compiled=True): torch.compile could not generate a kernel for {self.weights[0].device}: {error}"
            ) from error

    def add(self, gradients: Sequence[torch.Tensor]) -> None:
        """Add the gradients of the penalties to these tensors."""
        _generated()(list(gradients), self.weights, self.l1, self.l2)
