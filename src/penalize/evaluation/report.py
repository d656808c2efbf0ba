"""The report: what each target's penalty is now, and how many of its values are exactly zero."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from penalize.evaluation.reference import activity_losses, weight_losses
from penalize.placement import ActivityTarget, WeightTarget
from penalize.regularizers.distributed import is_distributed, own_part, total_over_parts, whole

__all__ = ["Report", "ReportRow", "Rows", "as_lines", "report"]

Row = TypeVar("Row")

COLUMNS = ("target", "kind", "shape", "regularizer", "penalty", "share", "zeros", "zero units")


@dataclass(frozen=True)
class ReportRow:
    """One target: its penalty, that as a share of all penalties, and the share of its weights that are exactly zero.

    `zero_units` of its `units` have only weights that are exactly zero: outputs of dense layers, filters of
    convolutions, rows of embeddings; both are None where a weight has none of these. `shape` and `zeros` are None for
    activity, `penalty` and `share` are 0 for frozen weights.
    """

    target: str
    kind: str
    shape: tuple[int, ...] | None
    regularizer: Any
    penalty: float
    share: float
    zeros: float | None
    zero_units: int | None = None
    units: int | None = None

    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of the columns."""
        return (
            self.target or "(model)",
            self.kind,
            "" if self.shape is None else "x".join(map(str, self.shape)) or "scalar",
            getattr(self.regularizer, "__name__", repr(self.regularizer)),
            f"{self.penalty:.6g}",
            f"{self.share:.1%}",
            "" if self.zeros is None else f"{self.zeros:.1%}",
            "" if self.units is None else f"{self.zero_units} of {self.units}",
        )


class Rows(Sequence[Row]):
    """The rows of a report."""

    rows: Sequence[Row]

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)


class Report(Rows[ReportRow]):
    """What each target's penalty is; printed, it is a table."""

    def __init__(self, rows: Iterable[ReportRow]) -> None:
        self.rows = list(rows)

    def __repr__(self) -> str:
        lines = as_lines([COLUMNS, *(row.cells() for row in self.rows)])
        return "\n".join([*lines, f"all penalties together: {sum(row.penalty for row in self.rows):.6g}"])


def as_lines(table: Sequence[Sequence[str]]) -> list[str]:
    """The rows of a table as lines of text with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


@torch.no_grad()
def report(weights: Iterable[WeightTarget], activities: Iterable[ActivityTarget]) -> Report:
    """What each target's penalty is now; activity is that of the last call."""
    weights, activities = list(weights), list(activities)
    values: dict[str, float] = {}
    for name, value in [*weight_losses(weights), *activity_losses(activities)]:
        values[name] = values.get(name, 0.0) + float(value.detach())
    everything = sum(values.values())

    def row(name: str, kind: str, shape: tuple[int, ...] | None, regularizer: Any, *counted: Any) -> ReportRow:
        penalty = values.get(name, 0.0)
        share = penalty / everything if everything else 0.0
        return ReportRow(name, kind, shape, regularizer, penalty, share, *counted)

    rows = []
    penalized = [weight for weight in weights if weight.regularizer is not None]
    for weight, zeros in zip(penalized, shares_of_zeros([weight.tensor() for weight in penalized]), strict=True):
        shape = weight.in_regularizer_layout(torch.empty(weight.tensor().shape, device="meta")).shape
        kind = "frozen weight" if weight.frozen else "weight"
        rows.append(row(weight.name, kind, tuple(shape), weight.regularizer, zeros, *zero_units(weight)))
    for activity in activities:
        if activity.regularizer is not None or activity.entries:
            rows.append(row(activity.name, "activity", None, activity.regularizer, None))
    return Report(rows)


def zero_units(target: WeightTarget) -> tuple[int | None, int | None]:
    """How many units of a weight are exactly zero, and how many there are; None for a weight without units."""
    tensor = target.tensor()
    of_torch = isinstance(target.module, nn.Linear | nn.Embedding | _ConvNd)
    if tensor.ndim < 2 or not (of_torch or target.declaration.layout.axes is not None):
        return None, None
    axis = 1 if getattr(target.module, "transposed", False) else 0
    every = whole(tensor) if is_distributed(tensor) else tensor
    used = (every != 0).movedim(axis, 0).flatten(1).any(1)
    return len(used) - int(used.sum()), len(used)


def shares_of_zeros(tensors: Sequence[torch.Tensor]) -> list[float]:
    """The share of each tensor's values that are exactly zero; those of DTensors are counted on all processes."""
    counts = [((own_part(each) if is_distributed(each) else each) == 0).sum() for each in tensors]
    parts = [index for index, each in enumerate(tensors) if is_distributed(each)]
    if parts:
        totals = total_over_parts([(counts[index], tensors[index]) for index in parts])
        for index, count in zip(parts, totals, strict=True):
            counts[index] = count
    return [float(count) / max(each.numel(), 1) for count, each in zip(counts, tensors, strict=True)]
