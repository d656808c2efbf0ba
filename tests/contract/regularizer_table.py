"""The contract table: each registered regularizer's instances, and its formula in plain NumPy float64.

A regularizer that is registered and has no row here fails `test_every_regularizer_has_a_row`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from penalize.regularizers import L1, L1L2, L2, GroupLasso, OrthogonalRegularizer, SparseGroupLasso


@dataclass(frozen=True)
class Row:
    """One instance: `formula` maps a float64 array to the penalty, `shapes` are the inputs that it is defined for.

    `refused` are shapes of ranks that it is not defined for.
    """

    regularizer: Any
    formula: Callable[[np.ndarray], float]
    shapes: tuple[tuple[int, ...], ...]
    refused: tuple[tuple[int, ...], ...] = ()

    def __repr__(self) -> str:
        return repr(self.regularizer)


ANY_SHAPE = ((3, 2), (4,), (2, 3, 2, 2), (1, 1), ())
AN_AXIS = ((3, 2), (4,), (2, 3, 2), (1, 1))
NO_AXIS = ((),)
MATRICES = ((3, 2), (2, 5), (6, 6), (2, 1))


def mean_absolute_cosine(vectors: np.ndarray) -> float:
    """The mean over unordered pairs of rows, pair by pair."""
    cosines = []
    for i in range(len(vectors)):
        for j in range(i + 1, len(vectors)):
            lengths = np.linalg.norm(vectors[i]) * np.linalg.norm(vectors[j])
            cosines.append(abs(vectors[i] @ vectors[j]) / lengths if lengths > 0 else 0.0)
    return float(np.mean(cosines)) if cosines else 0.0


def length_of_groups(x: np.ndarray, axes: tuple[int, ...], weight: bool = False) -> float:
    """The sum over groups, found index by index, of their lengths, multiplied by the root of their size for `weight`."""
    total = 0.0
    for index in np.ndindex(*(x.shape[axis] for axis in axes)):
        group = x
        for axis, at in zip(axes, index, strict=True):
            group = np.take(group, [at], axis=axis)
        total += np.sqrt((group**2).sum()) * (np.sqrt(group.size) if weight else 1.0)
    return float(total)


def length_of_blocks(x: np.ndarray, axis: int, blocks: int) -> float:
    return float(sum(np.sqrt((block**2).sum()) for block in np.split(x, blocks, axis=axis)))


TABLE = [
    Row(L1(0.1), lambda x: 0.1 * np.abs(x).sum(), ANY_SHAPE),
    Row(L1(), lambda x: 0.01 * np.abs(x).sum(), ANY_SHAPE),
    Row(L1(0.0), lambda x: 0.0, ANY_SHAPE),
    Row(L2(0.1), lambda x: 0.1 * (x**2).sum(), ANY_SHAPE),
    Row(L2(), lambda x: 0.01 * (x**2).sum(), ANY_SHAPE),
    Row(L1L2(0.1, 0.2), lambda x: 0.1 * np.abs(x).sum() + 0.2 * (x**2).sum(), ANY_SHAPE),
    Row(L1L2(0.3, 0.0), lambda x: 0.3 * np.abs(x).sum(), ANY_SHAPE),
    Row(L1L2(), lambda x: 0.0, ANY_SHAPE),
    Row(OrthogonalRegularizer(0.1), lambda x: 0.1 * mean_absolute_cosine(x), MATRICES, ((4,), (2, 2, 2), ())),
    Row(OrthogonalRegularizer(0.7, "columns"), lambda x: 0.7 * mean_absolute_cosine(x.T), MATRICES, ((4,), (2, 2, 2))),
    Row(
        OrthogonalRegularizer(0.2, "columns", flatten=True),
        lambda x: 0.2 * mean_absolute_cosine(x.reshape(-1, x.shape[-1]).T),
        (*MATRICES, (3, 2, 2, 4), (3, 3, 2)),
        ((4,), ()),
    ),
    Row(
        OrthogonalRegularizer(0.2, flatten=True),
        lambda x: 0.2 * mean_absolute_cosine(x.reshape(-1, 2)),
        ((2, 3, 2),),
        ((4,),),
    ),
    Row(GroupLasso(0.1), lambda x: 0.1 * length_of_groups(x, (0,)), AN_AXIS, NO_AXIS),
    Row(GroupLasso(0.3, axis=-1), lambda x: 0.3 * length_of_groups(x, (-1,)), AN_AXIS, NO_AXIS),
    Row(GroupLasso(0.2, axis=None), lambda x: 0.2 * float(np.sqrt((x**2).sum())), ANY_SHAPE),
    Row(
        GroupLasso(0.2, axis=(-1, 0)),
        lambda x: 0.2 * length_of_groups(x, (0, -1)),
        ((2, 3, 2), (2, 3, 2, 2)),
        ((4,), ()),
    ),
    Row(
        GroupLasso(0.2, axis=1, groups=2),
        lambda x: 0.2 * length_of_blocks(x, 1, 2),
        ((3, 4), (2, 2), (2, 4, 3)),
        ((4,), ()),
    ),
    Row(GroupLasso(0.1, scale_reg="group_size"), lambda x: 0.1 * length_of_groups(x, (0,), True), AN_AXIS, NO_AXIS),
    Row(SparseGroupLasso(), lambda x: 0.005 * (np.abs(x).sum() + length_of_groups(x, (0,))), AN_AXIS, NO_AXIS),
    Row(
        SparseGroupLasso(0.3, 0.2, axis=-1, scale_reg="group_size"),
        lambda x: 0.06 * np.abs(x).sum() + 0.24 * length_of_groups(x, (-1,), True),
        AN_AXIS,
        NO_AXIS,
    ),
    Row(SparseGroupLasso(0.3, 1.0), lambda x: 0.3 * np.abs(x).sum(), AN_AXIS, NO_AXIS),
    Row(SparseGroupLasso(0.3, 0.0), lambda x: 0.3 * length_of_groups(x, (0,)), AN_AXIS, NO_AXIS),
]

CASES = [(row, shape) for row in TABLE for shape in row.shapes]
