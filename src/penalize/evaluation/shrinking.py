"""The proximal steps of L1, L2 and L1L2 in an optimizer's own metric, of many weights, in few passes over memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from penalize.evaluation.chunks import SMALL, pieces
from penalize.evaluation.compiled import Kernels

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

    def __init__(
        self,
        weights: Sequence[torch.Tensor],
        strengths: Sequence[tuple[float, float]],
        kernels: Kernels | None = None,
    ) -> None:
        self.weights = list(weights)
        self.strengths = list(strengths)
        self.kernels = kernels
        on_cpu = all(weight.device.type == "cpu" for weight in weights)
        wide = {weight.dtype for weight in weights} <= {torch.float32} or {w.dtype for w in weights} <= {torch.float64}
        self.small = [i for i, w in enumerate(weights) if on_cpu and wide and w.is_contiguous() and w.numel() <= SMALL]
        self.row = _Row([weights[i] for i in self.small], [strengths[i] for i in self.small]) if self.small else None

    def take(self, steps: dict[int, StepSizes]) -> None:
        """Shrink, in place, each weight whose place is in `steps`."""
        left = dict(steps)
        if self.row is not None:
            of_small = [steps[index] for index in self.small if index in steps]
            if len(of_small) == len(self.small) and _alike(of_small):
                self.row.shrink(of_small)
                left = {index: sizes for index, sizes in steps.items() if index not in self.small}
        if self.kernels is not None and left:
            left = self._by_kernels(self.kernels, left)
        for index, sizes in left.items():
            shrink_(self.weights[index], sizes, *self.strengths[index])

    def _by_kernels(self, kernels: Kernels, steps: dict[int, StepSizes]) -> dict[int, StepSizes]:
        """Shrink by generated kernels all whose step sizes are of the first one's form; what is left."""
        first = next(iter(steps.values()))
        form = (first.squares is None, first.rooted)
        chosen = [index for index, sizes in steps.items() if (sizes.squares is None, sizes.rooted) == form]
        weights = [self.weights[index] for index in chosen]
        dtype = torch.float64 if weights[0].dtype == torch.float64 else torch.float32
        numbers = [(steps[i].scale, steps[i].inside, steps[i].outside, *self.strengths[i]) for i in chosen]
        settings = torch.tensor(numbers, dtype=dtype, device=weights[0].device)
        squares = [square for i in chosen if (square := steps[i].squares) is not None]
        kernels.shrink(weights, squares, settings, first.rooted)
        return {index: sizes for index, sizes in steps.items() if index not in chosen}


class _Row:
    """Small weights behind each other, for which few operations take as long as one for each weight."""

    def __init__(self, weights: Sequence[torch.Tensor], strengths: Sequence[tuple[float, float]]) -> None:
        self.weights = list(weights)
        self.sizes = [weight.numel() for weight in weights]
        counts = torch.tensor(self.sizes)
        l1, l2 = (torch.tensor(each, dtype=weights[0].dtype) for each in zip(*strengths, strict=True))
        self.l1 = l1.repeat_interleave(counts) if l1.any() else None
        self.l2 = l2.repeat_interleave(counts) if l2.any() else None

    def shrink(self, steps: Sequence[StepSizes]) -> None:
        """In place; the steps differ in their squares alone."""
        first = steps[0]
        x = torch.cat([weight.view(-1) for weight in self.weights])
        squares = [sizes.squares.reshape(-1) for sizes in steps if sizes.squares is not None]
        denominator = first.denominator(torch.cat(squares)) if squares else torch.ones_like(x)
        if self.l1 is not None:
            threshold = (self.l1 * first.scale).div_(denominator)
            x.sub_(torch.clamp(x, -threshold, threshold))
        if self.l2 is not None:
            x.mul_(denominator).div_(denominator.add_(self.l2, alpha=2 * first.scale))
        parts = [part.view_as(w) for part, w in zip(torch.split(x, self.sizes), self.weights, strict=True)]
        torch._foreach_copy_(self.weights, parts)


def _alike(steps: Sequence[StepSizes]) -> bool:
    return len({(sizes.squares is None, sizes._replace(squares=None)) for sizes in steps}) == 1


def shrink_(x: torch.Tensor, sizes: StepSizes, l1: float, l2: float) -> None:
    """`x = sign(x) max(abs(x) - h l1, 0) / (1 + 2 h l2)`, in place. Half precision is computed in float32."""
    squares = sizes.squares
    if not (x.is_contiguous() and (squares is None or squares.is_contiguous())) or x.device.type != "cpu":
        _shrink_piece_(x, squares, sizes, l1, l2)
        return
    # In pieces that stay in the processor's cache.
    if squares is None:
        for piece in pieces(x.view(-1)):
            _shrink_piece_(piece, None, sizes, l1, l2)
    else:
        for piece, of_squares in zip(pieces(x.view(-1)), pieces(squares.view(-1)), strict=True):
            _shrink_piece_(piece, of_squares, sizes, l1, l2)


def _shrink_piece_(x: torch.Tensor, squares: torch.Tensor | None, sizes: StepSizes, l1: float, l2: float) -> None:
    if x.dtype not in (torch.float32, torch.float64):
        wide = x.float()
        _shrink_piece_(wide, None if squares is None else squares.float(), sizes, l1, l2)
        x.copy_(wide)
        return
    if squares is None:
        if l1:
            x.sub_(x.clamp(-sizes.scale * l1, sizes.scale * l1))
        if l2:
            x.div_(1 + 2 * sizes.scale * l2)
        return
    denominator = sizes.denominator(squares)
    if l1:
        threshold = torch.div(torch.tensor(sizes.scale * l1, dtype=x.dtype, device=x.device), denominator)
        x.sub_(torch.clamp(x, -threshold, threshold))
    if l2:
        # x / (1 + 2 h l2) without a division of its own for h.
        x.mul_(denominator).div_(denominator.add_(2 * sizes.scale * l2))
