"""The proximal step of L1, L2 and L1L2 in an optimizer's own metric, in place and in few passes over memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from penalize.evaluation.chunks import PIECE

__all__ = ["StepSizes", "shrink_"]


@dataclass(frozen=True)
class StepSizes:
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
        return StepSizes(self.scale * factor, self.squares, self.inside, self.outside, self.rooted)

    def denominator(self, squares: torch.Tensor) -> torch.Tensor:
        """`sqrt(squares + inside) + outside` of a part of the squares, in a new tensor."""
        if not self.rooted:
            return squares + self.outside
        root = torch.sqrt(squares + self.inside) if self.inside else torch.sqrt(squares)
        return root.add_(self.outside) if self.outside else root

    def tensor(self) -> float | torch.Tensor:
        """h, as `Regularizer.prox` takes it."""
        return self.scale if self.squares is None else self.scale / self.denominator(self.squares)


def shrink_(x: torch.Tensor, sizes: StepSizes, l1: float, l2: float) -> None:
    """`x = sign(x) max(abs(x) - h l1, 0) / (1 + 2 h l2)`, in place. Half precision is computed in float32."""
    squares = sizes.squares
    if not (x.is_contiguous() and (squares is None or squares.is_contiguous())) or x.device.type != "cpu":
        _shrink_piece_(x, squares, sizes, l1, l2)
        return
    # In pieces that stay in the processor's cache.
    pieces = torch.split(x.view(-1), PIECE)
    of_squares = (None,) * len(pieces) if squares is None else torch.split(squares.view(-1), PIECE)
    for piece, piece_of_squares in zip(pieces, of_squares, strict=True):
        _shrink_piece_(piece, piece_of_squares, sizes, l1, l2)


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
