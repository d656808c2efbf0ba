"""Sums of absolutes and squares of many tensors, and their gradients, in few passes over memory.

On the CPU a compiled library does all at once (`native.py`); where it is not, torch's multi-tensor operations do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch

from penalize.evaluation.native import kernels_for, memory_of, numbers

__all__ = ["Strengthened"]

Tensors = Sequence[torch.Tensor]

CPU = torch.device("cpu")


class Strengthened:
    """Tensors of one dtype and device, each with its strengths: `l1[i]` of absolutes, `l2[i]` of squares."""

    def __init__(self, l1: Sequence[float], l2: Sequence[float], tensors: Tensors) -> None:
        self.l1 = list(l1)
        self.l2 = list(l2)
        self.dtype = tensors[0].dtype
        self.wide = self.dtype if self.dtype in (torch.float32, torch.float64) else torch.float32
        self.kernels = kernels_for(tensors[0])
        self.memory = None if self.kernels is None else memory_of(tensors, self.dtype)
        """Where the tensors lie, if the library can work on them."""
        self._strengths = numbers(self.l1), numbers(self.l2)

    def forward(self, tensors: Tensors, with_gradients: bool) -> tuple[torch.Tensor, list[torch.Tensor] | None]:
        """The sum over i of `l1[i] sum(abs(x[i])) + l2[i] sum(x[i]**2)`, in float32, or float64 for float64 tensors.

        Beside it the gradients, if they are asked for and come in the same pass. `memory`, if there is one, must hold
        the tensors still.
        """
        if self.kernels is not None and self.memory is not None:
            gradients = list(map(torch.empty_like, tensors)) if with_gradients else None
            addresses = None if gradients is None else self.memory.of_new(gradients)
            value = self.kernels.value(addresses, self.memory, *self._strengths)
            # Under a mode that makes other tensors than plain ones, there are no gradients yet.
            total = torch.scalar_tensor(value, dtype=self.wide, device=CPU)
            return total, gradients if addresses is not None else None
        # On CPUs norms in float32 lose digits of long rows.
        dtype = torch.float64 if tensors[0].device.type == "cpu" else self.wide
        total = tensors[0].new_zeros((), dtype=dtype)
        for strengths, order in ((self.l1, 1), (self.l2, 2)):
            for strength, indices in _by_value(strengths).items():
                norms = torch.stack(torch._foreach_norm([tensors[index] for index in indices], order, dtype=dtype))
                total = total + (norms if order == 1 else norms.square()).sum() * strength
        return total.to(self.wide), None

    def gradients(self, tensors: Tensors, factor: torch.Tensor) -> list[torch.Tensor]:
        """`factor (l1[i] sign(x[i]) + 2 l2[i] x[i])` in new tensors."""
        if self.kernels is not None and self.memory is not None and self.memory.hold(tensors):
            found = list(map(torch.empty_like, tensors))
            addresses = self.memory.of_new(found)
            if addresses is not None:
                self.kernels.write_gradients(addresses, self.memory, *self._strengths, float(factor))
                return found
        # Multiplied in float32 at least, where a factor or a strength may be too small or too large for the dtype.
        wide = [tensor.to(self.wide) for tensor in tensors]
        made = [torch.zeros_like(tensor) for tensor in wide]
        self._add_by_operations(made, wide)
        torch._foreach_mul_(made, factor)
        return [gradient.to(self.dtype) for gradient in made]

    def add_gradients(self, gradients: Tensors, tensors: Tensors, addresses: Any) -> None:
        """`g[i] += l1[i] sign(x[i]) + 2 l2[i] x[i]`, in place, without a graph.

        `addresses` are those of the gradients, if `memory` gave some, which must hold the tensors still.
        """
        if addresses is not None and self.kernels is not None and self.memory is not None:
            self.kernels.add_gradients(gradients, addresses, self.memory, *self._strengths)
            return
        with torch.no_grad():
            self._add_by_operations(gradients, tensors)

    def _add_by_operations(self, gradients: Tensors, tensors: Tensors) -> None:
        for strength, indices in _by_value(self.l2).items():
            held = [tensors[index] for index in indices]
            torch._foreach_add_([gradients[index] for index in indices], held, alpha=2 * strength)
        for strength, indices in _by_value(self.l1).items():
            signs = torch._foreach_sign([tensors[index] for index in indices])
            torch._foreach_add_([gradients[index] for index in indices], signs, alpha=strength)


def _by_value(strengths: Sequence[float]) -> dict[float, list[int]]:
    """The places of each strength that is not 0."""
    found: dict[float, list[int]] = defaultdict(list)
    for index, strength in enumerate(strengths):
        if strength:
            found[strength].append(index)
    return dict(found)
