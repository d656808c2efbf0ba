"""The contract table: each registered regularizer's instances, and its formula in plain NumPy float64.

A regularizer that is registered and has no row here fails `test_every_regularizer_has_a_row`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from penalize.regularizers import L1, L1L2, L2, OrthogonalRegularizer


@dataclass(frozen=True)
class Row:
    """One instance: `formula` maps a float64 array to the penalty, `shapes` are the inputs that it is defined for."""

    regularizer: Any
    formula: Callable[[np.ndarray], float]
    shapes: tuple[tuple[int, ...], ...]

    def __repr__(self) -> str:
        return repr(self.regularizer)


ANY_SHAPE = ((3, 2), (4,), (2, 3, 2, 2), (1, 1), ())
MATRICES = ((3, 2), (2, 5), (6, 6), (2, 1))


def mean_absolute_cosine(vectors: np.ndarray) -> float:
    """The mean over unordered pairs of rows, pair by pair."""
    cosines = []
    for i in range(len(vectors)):
        for j in range(i + 1, len(vectors)):
            lengths = np.linalg.norm(vectors[i]) * np.linalg.norm(vectors[j])
            cosines.append(abs(vectors[i] @ vectors[j]) / lengths if lengths > 0 else 0.0)
    return float(np.mean(cosines)) if cosines else 0.0


TABLE = [
    Row(L1(0.1), lambda x: 0.1 * np.abs(x).sum(), ANY_SHAPE),
    Row(L1(), lambda x: 0.01 * np.abs(x).sum(), ANY_SHAPE),
    Row(L1(0.0), lambda x: 0.0, ANY_SHAPE),
    Row(L2(0.1), lambda x: 0.1 * (x**2).sum(), ANY_SHAPE),
    Row(L2(), lambda x: 0.01 * (x**2).sum(), ANY_SHAPE),
    Row(L1L2(0.1, 0.2), lambda x: 0.1 * np.abs(x).sum() + 0.2 * (x**2).sum(), ANY_SHAPE),
    Row(L1L2(0.3, 0.0), lambda x: 0.3 * np.abs(x).sum(), ANY_SHAPE),
    Row(L1L2(), lambda x: 0.0, ANY_SHAPE),
    Row(OrthogonalRegularizer(0.1), lambda x: 0.1 * mean_absolute_cosine(x), MATRICES),
    Row(OrthogonalRegularizer(0.7, "columns"), lambda x: 0.7 * mean_absolute_cosine(x.T), MATRICES),
    Row(
        OrthogonalRegularizer(0.2, "columns", flatten=True),
        lambda x: 0.2 * mean_absolute_cosine(x.reshape(-1, x.shape[-1]).T),
        (*MATRICES, (3, 2, 2, 4), (3, 3, 2)),
    ),
    Row(OrthogonalRegularizer(0.2, flatten=True), lambda x: 0.2 * mean_absolute_cosine(x.reshape(-1, 2)), ((2, 3, 2),)),
]

CASES = [(row, shape) for row in TABLE for shape in row.shapes]
