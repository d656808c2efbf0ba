"""The proximal steps of L1, L2 and L1L2 in an optimizer's own metric, of many weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from penalize.evaluation.native import Kernels, kernels_for, memory_of, numbers

__all__ = ["Shrinking", "StepSizes", "shrink_"]


class StepSizes(NamedTuple):
    """The step size of each coordinate, `h = scale / (sqrt(squares + inside) + outside)`; without squares `scale`.

    `squares` has the parameter's shape; where it is not `rooted`, its values stand for their own square roots.
    """

    scale: float
    squares: torch.Tensor | None = None
    inside: float = 0.0
    outside: float = 0.0
    rooted: bool = True

    def times(self, factor: float) -> StepSizes:
        """All of them multiplied by a number."""
        return self._replace(scale=self.scale * factor)

    def denominator(self, squares: torch.Tensor) -> torch.Tensor:
        """`sqrt(squares + inside) + outside` of a part of the squares, in a new tensor."""
        if not self.rooted:
            return squares + self.outside
        root = torch.sqrt(squares + self.inside) if self.inside else torch.sqrt(squares)
        return root.add_(self.outside) if self.outside else root

    def tensor(self) -> float | torch.Tensor:
        """h, as `Regularizer.prox` takes it."""
        return self.scale if self.squares is None else self.scale / self.denominator(self.squares)


class Shrinking:
    """The proximal steps of some plain weights; `strengths` are those of absolutes and of squares of each."""

    def __init__(self, weights: Sequence[torch.Tensor], strengths: Sequence[tuple[float, float]]) -> None:
        self.weights = list(weights)
        self.strengths = list(strengths)
        kinds: dict[Any, list[int]] = defaultdict(list)
        for index, weight in enumerate(weights):
            kinds[weight.dtype, weight.device].append(index)
        self._kinds = [(kernels_for(self.weights[places[0]]), places) for places in kinds.values()]

    def take(self, steps: dict[int, StepSizes]) -> None:
        """Shrink, in place, each weight whose place is in `steps`."""
        for kernels, places in self._kinds:
            together = [index for index in places if index in steps]
            if kernels is None or not self._by_kernels(kernels, together, steps):
                for index in together:
                    shrink_(self.weights[index], steps[index], *self.strengths[index])

    def _by_kernels(self, kernels: Kernels, together: list[int], steps: dict[int, StepSizes]) -> bool:
        """Whether the library could take these steps, and did."""
        weights = [self.weights[index] for index in together]
        memory = memory_of(weights, weights[0].dtype) if weights else None
        if memory is None:
            return not weights
        squares = [steps[index].squares for index in together]
        # Where there are none, the weight itself stands in for them, of the right size.
        beside = [weight if square is None else square for weight, square in zip(weights, squares, strict=True)]
        addresses = memory.beside(beside)
        if addresses is None or any(square is not None and square.dtype != weights[0].dtype for square in squares):
            return False
        settings: list[float] = []
        for place, index in enumerate(together):
            scale, square, inside, outside, _ = steps[index]
            settings += (scale, inside, outside, *self.strengths[index])
            if square is None:
                addresses[place] = None
        kernels.shrink(weights, memory, addresses, numbers(settings), [steps[index].rooted for index in together])
        return True


def shrink_(x: torch.Tensor, sizes: StepSizes, l1: float, l2: float) -> None:
    """`x = sign(x) max(abs(x) - h l1, 0) / (1 + 2 h l2)`, in place. Half precision is computed in float32."""
    if x.dtype not in (torch.float32, torch.float64):
        wide = x.float()
        squares = sizes.squares
        shrink_(wide, sizes if squares is None else sizes._replace(squares=squares.float()), l1, l2)
        x.copy_(wide)
        return
    step = sizes.tensor()
    if l1:
        most = torch.as_tensor(step * l1, dtype=x.dtype, device=x.device)
        x.sub_(x.clamp(-most, most))
    if l2:
        x.div_(1 + 2 * step * l2)
