"""Attention as tensor math: which axes it is over, what may attend to what, and the weighted sums of values."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from penalize.errors import ArgumentError, ShapeError

__all__ = ["AttendedAxes", "attended_axes", "band", "combined", "fused_attention", "kernels", "plain_attention"]

Drop = Callable[[torch.Tensor], torch.Tensor]

WITHOUT_FLASH = [SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


@dataclass(frozen=True)
class AttendedAxes:
    """The axes of inputs (batch, ..., features) of one rank that attention is over; all others are like the batch.

    Heads are brought in front and attended axes into one: (batch, ..., heads, positions, size).
    """

    rank: int
    axes: tuple[int, ...]
    layer: str

    @property
    def others(self) -> tuple[int, ...]:
        """The batch axis, and those that attention goes along side by side."""
        return tuple(axis for axis in range(self.rank - 1) if axis not in self.axes)

    def positions(self, x: torch.Tensor) -> list[int]:
        """The sizes of the attended axes of an input."""
        return [x.shape[axis] for axis in self.axes]

    def heads_first(self, projected: torch.Tensor) -> torch.Tensor:
        """(batch, ..., heads, size) as (batch and others, heads, positions, size)."""
        first = len(self.others) + 1
        order = (*self.others, self.rank - 1, *self.axes, self.rank)
        return projected.permute(order).flatten(first, first + len(self.axes) - 1)

    def heads_last(self, attended: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """The inverse of `heads_first`, for the positions of the input `like`."""
        order = (*self.others, self.rank - 1, *self.axes, self.rank)
        split = torch.unflatten(attended, -2, self.positions(like))
        return split.permute([order.index(axis) for axis in range(self.rank + 1)])

    def split_scores(self, scores: torch.Tensor, query: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Scores (..., positions of the query, of the value) with the attended axes of both one by one."""
        split = torch.unflatten(scores, -1, self.positions(value))
        return torch.unflatten(split, -1 - len(self.axes), self.positions(query))

    def own_mask(self, mask: torch.Tensor, of: torch.Tensor, argument: str) -> torch.Tensor:
        """The mask of an input, which has its first axes, as (batch and others, 1 for the heads, positions)."""
        sizes = of.shape[:-1]
        fits = mask.ndim < of.ndim and all(m in (1, n) for m, n in zip(mask.shape, sizes, strict=False))
        if not fits:
            raise ShapeError(
                f"{self.layer}: {argument} must have the first axes of {tuple(sizes)}, got shape {tuple(mask.shape)}"
            )
        full = mask.bool().reshape(*mask.shape, *(1,) * (len(sizes) - mask.ndim)).expand(sizes)
        return full.permute(*self.others, *self.axes).flatten(len(self.others)).unsqueeze(len(self.others))

    def given_mask(self, mask: torch.Tensor, query: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """`attention_mask`, with its last axes those of scores and any leading ones, to broadcast with the scores."""
        pairs = [*self.positions(query), *self.positions(value)]
        leading, missing = mask.ndim - len(pairs), self.rank - len(self.axes) + len(pairs) - mask.ndim
        fits = leading >= 0 and missing >= 0
        if not fits or any(m not in (1, n) for m, n in zip(mask.shape[leading:], pairs, strict=True)):
            raise ShapeError(
                f"{self.layer}: attention_mask must end with the axes {tuple(pairs)}, got shape {tuple(mask.shape)}"
            )
        # Axes that are missing are those before the attended ones: the heads first.
        full = mask.bool().reshape(*mask.shape[:leading], *(1,) * missing, *mask.shape[leading:])
        if len(self.axes) == 1:
            return full
        full = full.expand(*full.shape[: leading + missing], *pairs)
        return full.flatten(-len(self.axes)).flatten(leading + missing, -2)


def band(query: torch.Tensor, value: torch.Tensor, causal: bool, window: int | None) -> torch.Tensor:
    """What positions (T, S) a causal mask (none later) and a window (fewer than `window` steps away) leave."""
    rows = torch.arange(query.shape[-2], device=query.device).unsqueeze(1)
    columns = torch.arange(value.shape[-2], device=query.device)
    near = (rows - columns).abs() < window if window is not None else torch.ones_like(rows >= columns)
    return near & (rows >= columns) if causal else near


def combined(masks: list[torch.Tensor]) -> torch.Tensor | None:
    """What all masks leave."""
    result: torch.Tensor | None = None
    for mask in masks:
        result = mask if result is None else result & mask
    return result


def kernels(flash_attention: bool | None) -> contextlib.AbstractContextManager[Any]:
    """The choice among torch's kernels: only flash attention (True), all but it (False), or torch's own (None)."""
    if flash_attention is None:
        return contextlib.nullcontext()
    return sdpa_kernel([SDPBackend.FLASH_ATTENTION] if flash_attention else WITHOUT_FLASH)


def fused_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    causal: bool,
    dropout: float,
    mean_of_nothing: bool,
) -> torch.Tensor:
    """`softmax(query @ key.T / sqrt(size)) @ value` by torch's kernels; fewer heads of key and value are repeated.

    A query that may attend to nothing gets zeros, or with `mean_of_nothing` the mean of all values.
    """
    if mask is not None and mean_of_nothing:
        # Finite, so that a row of nothing else has equal weights; half, so that adding scores cannot overflow.
        lowest = torch.finfo(query.dtype).min / 2
        mask = torch.zeros(mask.shape, dtype=query.dtype, device=mask.device).masked_fill(~mask, lowest)
    grouped = query.shape[-3] != key.shape[-3]
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, dropout_p=dropout, is_causal=causal, enable_gqa=grouped
    )


def plain_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, drop: Drop | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `fused_attention`, and the scores before dropout; a query that may attend to nothing gets zeros."""
    repeats = query.shape[-3] // key.shape[-3]
    if repeats > 1:
        key, value = key.repeat_interleave(repeats, dim=-3), value.repeat_interleave(repeats, dim=-3)
    logits = query / math.sqrt(query.shape[-1]) @ key.transpose(-1, -2)
    if mask is None:
        scores = logits.softmax(-1)
    else:
        scores = logits.masked_fill(~mask, torch.finfo(logits.dtype).min).softmax(-1).masked_fill(~mask, 0.0)
    return (scores if drop is None else drop(scores)) @ value, scores


def attended_axes(axes: tuple[int, ...] | None, rank: int, layer: str) -> AttendedAxes:
    """The axes that `attention_axes` means for inputs of this rank; None means all between batch and features."""
    if rank < 3:
        raise ShapeError(f"{layer}: inputs must have rank 3 or more (batch, time, features), got rank {rank}")
    if axes is None:
        return AttendedAxes(rank, tuple(range(1, rank - 1)), layer)
    chosen = tuple(axis + rank if axis < 0 else axis for axis in axes)
    if not chosen or len(set(chosen)) != len(chosen) or any(not 0 < axis < rank - 1 for axis in chosen):
        raise ArgumentError(
            f"{layer}: attention_axes must be different axes between the batch and the features of inputs of rank "
            f"{rank}, got {axes}"
        )
    return AttendedAxes(rank, chosen, layer)
