"""Generated kernels: the penalties of many weights, value and gradient, with each weight read from memory once."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch

from penalize.errors import ArgumentError

__all__ = ["Generated", "Kernels"]

Tensors = Sequence[torch.Tensor]


def _add_gradients(gradients: Tensors, weights: Tensors, l1: torch.Tensor, l2: torch.Tensor) -> None:
    for index, (gradient, weight) in enumerate(zip(gradients, weights, strict=True)):
        gradient.add_(torch.sign(weight) * l1[index] + weight * (2 * l2[index]))


def _value(weights: Tensors, l1: torch.Tensor, l2: torch.Tensor) -> torch.Tensor:
    values = []
    for index, weight in enumerate(weights):
        wide = weight.to(l1.dtype)
        values.append((wide.abs() * l1[index] + wide.square() * l2[index]).sum())
    return torch.stack(values).sum()


def _gradients(weights: Tensors, l1: torch.Tensor, l2: torch.Tensor) -> list[torch.Tensor]:
    found = []
    for index, weight in enumerate(weights):
        wide = weight.to(l1.dtype)
        found.append((torch.sign(wide) * l1[index] + wide * (2 * l2[index])).to(weight.dtype))
    return found


def _shrink(weights: Tensors, squares: Tensors, settings: torch.Tensor, rooted: bool) -> None:
    # Of each weight: scale, inside, outside, l1, l2, as in `StepSizes`.
    for index, weight in enumerate(weights):
        scale, inside, outside, l1, l2 = settings[index].unbind()
        wide = weight.to(settings.dtype)
        if squares:
            square = squares[index].to(settings.dtype)
            step = scale / ((torch.sqrt(square + inside) if rooted else square) + outside)
        else:
            step = scale
        shrunk = torch.sign(wide) * torch.clamp(wide.abs() - step * l1, min=0)
        weight.copy_(shrunk / (1 + 2 * step * l2))


class Kernels:
    """What `torch.compile` generated for the weights of one model; a copy generates its own."""

    def __init__(self) -> None:
        # Those of other models do not count towards the limit of recompilations.
        compiled = functools.partial(torch.compile, fullgraph=True, dynamic=False, isolate_recompiles=True)
        self.add_gradients: Any = compiled(_add_gradients)
        self.value: Any = compiled(_value)
        self.gradients: Any = compiled(_gradients)
        self.shrink: Any = compiled(_shrink)

    def __reduce__(self) -> tuple[type[Kernels], tuple[()]]:
        return Kernels, ()


class Generated:
    """As `Strengthened`, by kernels for the shapes of the tensors; other strengths need no new ones."""

    def __init__(self, l1: Sequence[float], l2: Sequence[float], tensors: Tensors, kernels: Kernels) -> None:
        self.kernels = kernels
        first = tensors[0]
        dtype = torch.float64 if first.dtype == torch.float64 else torch.float32
        self.l1, self.l2 = list(l1), list(l2)
        self.l1_there, self.l2_there = (torch.tensor(each, dtype=dtype, device=first.device) for each in (l1, l2))

    @torch.no_grad()
    def prepare(self, tensors: Tensors) -> None:
        """Generate the kernels now instead of at the first step; an `ArgumentError` when that cannot be done here."""
        try:
            self.add_gradients([torch.zeros_like(tensor) for tensor in tensors], tensors)
            self.forward(tensors)
            self.gradients(tensors, None, torch.ones_like(self.l1_there[0]))
        except Exception as error:
            raise ArgumentError(
                f"compile(): torch.compile generates no kernel for {tensors[0].device}: {error}"
            ) from error

    def forward(self, tensors: Tensors) -> tuple[torch.Tensor, None]:
        """The sum over i of `l1[i] sum(abs(x[i])) + l2[i] sum(x[i]**2)`; nothing is kept for `gradients`."""
        return self.kernels.value(list(tensors), self.l1_there, self.l2_there), None

    def gradients(self, tensors: Tensors, kept: None, factor: torch.Tensor) -> list[torch.Tensor]:
        """`factor (l1[i] sign(x[i]) + 2 l2[i] x[i])` in new tensors."""
        found: list[torch.Tensor] = self.kernels.gradients(
            list(tensors), self.l1_there * factor, self.l2_there * factor
        )
        return found

    def add_gradients(self, gradients: Tensors, tensors: Tensors) -> None:
        """`g[i] += l1[i] sign(x[i]) + 2 l2[i] x[i]`, in place."""
        self.kernels.add_gradients(list(gradients), list(tensors), self.l1_there, self.l2_there)
