"""Sums of absolutes and squares of many tensors, and their gradients, with few operations and few passes over memory.

On the CPU, small tensors go together in one row, and large ones in pieces that stay in the processor's cache, so that
each is read from memory once. Other devices run multi-tensor operations on all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

__all__ = ["SMALL", "Strengthened", "pieces"]

PIECE = 2**17
"""How many values of a large tensor are worked on at once: so many that they stay in the cache of one core."""
LONG_PIECE = 2**19
"""The same of tensors that do not fit into any cache, where fewer operations pay more."""
SMALL = 2**14
"""Up to so many values a tensor is small."""

Tensors = Sequence[torch.Tensor]


class Strengthened:
    """Tensors of one dtype and device, each with its strengths: `l1[i]` of absolutes, `l2[i]` of squares."""

    def __init__(self, l1: Sequence[float], l2: Sequence[float], tensors: Tensors) -> None:
        like = tensors[0]
        self.l1 = list(l1)
        self.l2 = list(l2)
        self.by_l1 = _by_value(l1)
        self.by_l2 = _by_value(l2)
        self.on_cpu = like.device.type == "cpu"
        sizes = [tensor.numel() for tensor in tensors]
        self.small = [index for index, size in enumerate(sizes) if self.on_cpu and size <= SMALL]
        self.large = [index for index, size in enumerate(sizes) if self.on_cpu and size > SMALL]
        self.wide = like.dtype if like.dtype in (torch.float32, torch.float64) else torch.float32
        counts = torch.tensor([sizes[index] for index in self.small], dtype=torch.long)
        # The strengths of every value of the small tensors, those of squares also doubled.
        self.row_l1, self.row_l2 = (
            torch.tensor([strengths[index] for index in self.small], dtype=self.wide).repeat_interleave(counts)
            for strengths in (l1, l2)
        )
        self.row_2l2 = 2 * self.row_l2

    def forward(self, tensors: Tensors) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The sum over i of `l1[i] sum(abs(x[i])) + l2[i] sum(x[i]**2)`, in float32, or float64 for float64 tensors.

        Beside it the values of all small tensors behind each other, for `gradients`; None where there are none.
        """
        row = self._row(tensors)
        parts = [] if self.on_cpu else self._value_by_norms(tensors)
        if row is not None:
            absolutes = row.abs()
            factors = torch.addcmul(self.row_l1, self.row_l2, absolutes) if self.by_l2 else self.row_l1
            parts.append(torch.dot(absolutes, factors))
        for index in self.large:
            for piece in pieces(tensors[index].reshape(-1)):
                wide = piece.to(self.wide)
                if self.l1[index]:
                    parts.append(wide.abs().sum() * self.l1[index])
                if self.l2[index]:
                    # One pass, without a tensor of the squares.
                    parts.append(torch.dot(wide, wide) * self.l2[index])
        if not parts:
            return tensors[0].new_zeros((), dtype=self.wide), row
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(), row

    def gradients(self, tensors: Tensors, row: torch.Tensor | None, factor: torch.Tensor) -> list[torch.Tensor]:
        """`factor (l1[i] sign(x[i]) + 2 l2[i] x[i])` in new tensors; `row` is what `forward` gave beside the value."""
        if not self.on_cpu:
            found = torch._foreach_mul(list(tensors), 0.0)
            self._add_together(found, tensors)
            torch._foreach_mul_(found, factor)
            return list(found)
        scale = float(factor)
        made: list[Any] = [None] * len(tensors)
        if row is not None:
            gradient = (row * self.row_2l2).addcmul_(torch.sign(row), self.row_l1)
            if scale != 1.0:
                gradient.mul_(scale)
            if gradient.dtype != tensors[0].dtype:
                gradient = gradient.to(tensors[0].dtype)
            like = [tensors[index] for index in self.small]
            parts = _unflatten_dense_tensors(gradient, like)  # type: ignore[no-untyped-call]
            for index, part in zip(self.small, parts, strict=True):
                made[index] = part
        for index in self.large:
            x = tensors[index].contiguous()
            gradient = torch.empty_like(x)
            l1, l2 = scale * self.l1[index], 2 * scale * self.l2[index]
            for g, piece in zip(pieces(gradient.view(-1)), pieces(x.view(-1)), strict=True):
                if l1:
                    torch.sign(piece, out=g).mul_(l1).add_(piece, alpha=l2)
                else:
                    torch.mul(piece, l2, out=g)
            made[index] = gradient
        return made

    def add_gradients(self, gradients: Tensors, tensors: Tensors) -> None:
        """`g[i] += l1[i] sign(x[i]) + 2 l2[i] x[i]`, in place."""
        # Only what is contiguous has pieces that lie behind each other.
        alone = {i for i in self.large if tensors[i].is_contiguous() and gradients[i].is_contiguous()}
        self._add_together(gradients, tensors, alone)
        for index in alone:
            l1, l2 = self.l1[index], 2 * self.l2[index]
            for g, piece in zip(pieces(gradients[index].view(-1)), pieces(tensors[index].view(-1)), strict=True):
                if l2:
                    g.add_(piece, alpha=l2)
                if l1:
                    g.add_(torch.sign(piece), alpha=l1)

    def _row(self, tensors: Tensors) -> torch.Tensor | None:
        if not self.small:
            return None
        row: torch.Tensor = _flatten_dense_tensors([tensors[i] for i in self.small])  # type: ignore[no-untyped-call]
        return row if row.dtype == self.wide else row.to(self.wide)

    def _add_together(self, gradients: Tensors, tensors: Tensors, left_out: Collection[int] = ()) -> None:
        for by_strength, of_signs in ((self.by_l1, True), (self.by_l2, False)):
            for strength, indices in by_strength.items():
                chosen = [index for index in indices if index not in left_out] if left_out else indices
                if not chosen:
                    continue
                held = [tensors[index] for index in chosen]
                if of_signs:
                    torch._foreach_add_([gradients[i] for i in chosen], torch._foreach_sign(held), alpha=strength)
                else:
                    torch._foreach_add_([gradients[i] for i in chosen], held, alpha=2 * strength)

    def _value_by_norms(self, tensors: Tensors) -> list[torch.Tensor]:
        parts = []
        for by_value, order in ((self.by_l1, 1), (self.by_l2, 2)):
            for strength, indices in by_value.items():
                norms = torch.stack(torch._foreach_norm([tensors[index].to(self.wide) for index in indices], order))
                parts.append((norms if order == 1 else norms.square()).sum() * strength)
        return parts


def _by_value(strengths: Sequence[float]) -> dict[float, list[int]]:
    """The places of each strength that is not 0."""
    found: dict[float, list[int]] = defaultdict(list)
    for index, strength in enumerate(strengths):
        if strength:
            found[strength].append(index)
    return dict(found)


def pieces(row: torch.Tensor) -> Iterator[torch.Tensor]:
    """The parts of a row that are worked on one after the other."""
    return iter(torch.split(row, PIECE if row.numel() < 4 * LONG_PIECE else LONG_PIECE))
