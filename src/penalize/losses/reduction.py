"""From the values of a loss to its number: sample weights, masks and the five reductions of Keras."""

from __future__ import annotations

from typing import Any

import torch

from penalize.errors import ArgumentError, ShapeError
from penalize.losses.arrays import to_tensor, wide_dtype
from penalize.masks import mask_of

__all__ = ["check_reduction", "fit_weight", "kept_values", "reduce"]

REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none")


def check_reduction(reduction: Any) -> str | None:
    """`reduction`, if Keras has it.

    >>> check_reduction("average")
    Traceback (most recent call last):
    ...
    penalize.errors.ArgumentError: reduction must be None or one of 'sum_over_batch_size', 'mean', 'sum', \
'mean_with_sample_weight', 'none', got 'average'
    """
    if reduction is None or (isinstance(reduction, str) and reduction in REDUCTIONS):
        return reduction
    known = ", ".join(map(repr, REDUCTIONS))
    raise ArgumentError(f"reduction must be None or one of {known}, got {reduction!r:.80}")


def reduce(
    values: torch.Tensor,
    reduction: str | None,
    sample_weight: Any = None,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """The number that values v with weights w (1 without) reduce to; N is the number of values.

    - "sum_over_batch_size", "mean": `sum(v w) / N`, with a mask over the values it keeps and their number;
    - "sum": `sum(v w)`; "mean_with_sample_weight": `sum(v w) / sum(w)`; "none" and None: `v w` as they are.

    No values, or weights that sum to 0 where they are divided by, give 0. Source: Keras 3.15.1.
    """
    values = values.to(wide_dtype(values))
    if sample_weight is None and mask is None and values.numel() and reduction in ("sum_over_batch_size", "mean"):
        return values.mean()
    count: torch.Tensor | float = float(max(values.numel(), 1))
    weight = None if sample_weight is None else fit_weight(sample_weight, values)
    if mask is not None:
        kept = mask.to(values.dtype).expand(values.shape)
        count = kept.sum().clamp(min=1.0)
        weight = kept if weight is None else weight * kept
    if weight is not None:
        values = values * weight
    if reduction in (None, "none"):
        return values
    if reduction == "sum":
        return values.sum()
    if reduction == "mean_with_sample_weight" and weight is not None:
        total = weight.sum()
        return torch.where(total == 0, 0.0, values.sum() / torch.where(total == 0, 1.0, total))
    return values.sum() / count


def kept_values(y_pred: Any, values: torch.Tensor) -> torch.Tensor | None:
    """The mask that predictions carry, with as many axes as the values; None without one, and for a single value.

    Raises `ShapeError` where there is no value for each entry of the mask: padding would count.
    """
    mask = mask_of(y_pred)
    if mask is None or values.ndim == 0:
        return None
    if mask.shape != values.shape[: mask.ndim]:
        raise ShapeError(
            f"predictions have a mask of shape {tuple(mask.shape)}, which needs a value for each of its entries, but "
            f"the values have shape {tuple(values.shape)}: give y_true the axes of the predictions, also a last one of "
            "size 1"
        )
    kept: torch.Tensor = mask.reshape(*mask.shape, *(1,) * (values.ndim - mask.ndim)).to(values.device)
    return kept.expand(values.shape)


def fit_weight(sample_weight: Any, values: torch.Tensor) -> torch.Tensor:
    """`sample_weight` with as many axes as `values`, so that axis 0 is the samples' in both.

    A number, one weight a sample, a sample and timestep, ..., also with a last axis of size 1.

    Raises `ShapeError` for other shapes.

    >>> fit_weight([1.0, 2.0], torch.ones(2, 3)).shape
    torch.Size([2, 1])
    """
    weight = to_tensor(sample_weight, values.device).to(values.dtype)
    if weight.ndim == values.ndim + 1 and weight.shape[-1] == 1:
        weight = weight.squeeze(-1)
    shape = (*weight.shape, *(1,) * (values.ndim - weight.ndim))
    if weight.ndim > values.ndim or any(size not in (1, of) for size, of in zip(shape, values.shape, strict=False)):
        raise ShapeError(
            f"sample_weight of shape {tuple(weight.shape)} does not fit loss values of shape {tuple(values.shape)}"
        )
    return weight.reshape(shape)
