"""Keras's "same" and "causal" padding, as amounts to pad before a convolution or pooling without padding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

__all__ = ["output_size", "pad_same", "same_padding"]


def same_padding(size: int, window: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Zeros before and after an axis so that its output has ceil(size / stride) entries; the odd one goes after.

    >>> same_padding(5, window=3, stride=2), same_padding(4, window=3, stride=2)
    ((1, 1), (0, 1))
    """
    # Nothing is asked about the size, which is unknown under `torch.export`.
    total = (window - 1) * dilation - (size - 1) % stride
    if (window - 1) * dilation < stride - 1:
        total = torch.sym_max(total, 0)  # type: ignore[no-untyped-call]
    return total // 2, total - total // 2


def pad_same(
    x: torch.Tensor, windows: Sequence[int], strides: Sequence[int], dilations: Sequence[int], value: float = 0.0
) -> torch.Tensor:
    """`x` (batch, channels, spatial axes...) padded with `value` for "same"."""
    amounts: list[int] = []
    for size, window, stride, dilation in zip(x.shape[2:], windows, strides, dilations, strict=True):
        # torch wants the last axis first.
        amounts = [*same_padding(size, window, stride, dilation), *amounts]
    unknown = any(isinstance(amount, torch.SymInt) for amount in amounts)
    return F.pad(x, amounts, value=value) if unknown or any(amounts) else x


def output_size(size: int, window: int, padding: str, stride: int, dilation: int = 1) -> int:
    """The number of outputs along an axis, for "same" or "valid" padding.

    >>> output_size(5, 3, "same", 2), output_size(5, 3, "valid", 2)
    (3, 2)
    """
    return -(-size // stride) if padding == "same" else (size - (window - 1) * dilation - 1) // stride + 1
