"""The report of `compact`: what each layer had, what it has now, and how far the outputs are from those before."""

from __future__ import annotations

from dataclasses import dataclass

from penalize.evaluation import Rows, as_lines

__all__ = ["CompactReport", "CompactRow"]

COLUMNS = ("layer", "kind", "units", "now", "parameters", "now")


@dataclass(frozen=True)
class CompactRow:
    """One layer with parameters: its units, which for a BatchNorm are its features (None for PReLU), and parameters."""

    layer: str
    kind: str
    units_before: int | None
    units_after: int | None
    parameters_before: int
    parameters_after: int

    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of the columns."""
        figures = (self.units_before, self.units_after, self.parameters_before, self.parameters_after)
        return (self.layer or "(model)", self.kind, *("" if figure is None else f"{figure:,}" for figure in figures))


@dataclass(frozen=True)
class CompactReport(Rows[CompactRow]):
    """The rows of all layers with parameters, in the order of the call; printed, it is a table.

    `difference` is the largest difference of an output on the example, over the largest output, both computed in
    float64 from the weights as they are.
    """

    rows: tuple[CompactRow, ...]
    difference: float

    @property
    def parameters_before(self) -> int:
        """The number of values in the parameters of the model that was given."""
        return sum(row.parameters_before for row in self.rows)

    @property
    def parameters_after(self) -> int:
        """The number of values in the parameters of the model that came out."""
        return sum(row.parameters_after for row in self.rows)

    def __repr__(self) -> str:
        before, after = self.parameters_before, self.parameters_after
        together = ("all", "", "", "", f"{before:,}", f"{after:,}")
        lines = as_lines([COLUMNS, *(row.cells() for row in self.rows), together])
        return "\n".join([*lines, f"largest difference of an output, over the largest output: {self.difference:.1e}"])
