"""The contract table: each registered regularizer's instances, and its formula in plain NumPy float64.

A regularizer that is registered and has no row here fails `test_every_regularizer_has_a_row`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from penalize.regularizers import (
    L1,
    L1L2,
    L2,
    L2SP,
    MCP,
    SCAD,
    Decorrelation,
    GroupLasso,
    HoyerSquare,
    KLSparsity,
    LInf,
    NuclearNorm,
    OrthogonalRegularizer,
    SparseGroupLasso,
    SpectralNorm,
    TotalVariation,
)


@dataclass(frozen=True)
class Row:
    """One instance: `formula` maps a float64 array to the penalty, `shapes` are the inputs that it is defined for.

    `refused` are shapes of ranks that it is not defined for; `between_0_and_1` says that other values are, too.
    """

    regularizer: Any
    formula: Callable[[np.ndarray], float]
    shapes: tuple[tuple[int, ...], ...]
    refused: tuple[tuple[int, ...], ...] = ()
    between_0_and_1: bool = False

    def values(self, shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> torch.Tensor:
        """Numbers of both signs, none near 0, where the absolute value has no derivative."""
        if self.between_0_and_1:
            return (torch.rand(shape, dtype=torch.float64) * 0.8 + 0.1).to(dtype)
        x = torch.randn(shape, dtype=torch.float64)
        return (x + 0.1 * torch.sign(x)).to(dtype)

    def __repr__(self) -> str:
        return repr(self.regularizer)


ANY_SHAPE = ((3, 2), (4,), (2, 3, 2, 2), (1, 1), ())
AN_AXIS = ((3, 2), (4,), (2, 3, 2), (1, 1))
NO_AXIS = ((),)
NO_MATRIX = ((4,), (2, 2, 2), ())
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


def minimax_concave(x: np.ndarray, strength: float, gamma: float) -> float:
    inside = strength * np.abs(x) - x**2 / (2 * gamma)
    return float(np.where(np.abs(x) <= gamma * strength, inside, gamma * strength**2 / 2).sum())


def clipped_deviation(x: np.ndarray, strength: float, gamma: float) -> float:
    a = np.abs(x)
    bend = (2 * gamma * strength * a - a**2 - strength**2) / (2 * (gamma - 1))
    flat = strength**2 * (gamma + 1) / 2
    return float(np.where(a <= strength, strength * a, np.where(a <= gamma * strength, bend, flat)).sum())


def hoyer_square(x: np.ndarray) -> float:
    return float(np.abs(x).sum() ** 2 / (x**2).sum()) if x.any() else 0.0


def divergence(x: np.ndarray, p: float, axes: tuple[int, ...]) -> float:
    """The Kullback-Leibler divergences of the units' averages from p."""
    q = np.clip(x.mean(axes), 1e-7, 1 - 1e-7)
    return float((p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum())


def off_diagonal(x: np.ndarray) -> float:
    covariance = np.atleast_2d(np.cov(x, rowvar=False, bias=True))
    return float((covariance**2).sum() - (np.diag(covariance) ** 2).sum()) / 2


def flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(-1, x.shape[-1])


# What an instance needs besides its strengths, to be called.
NEEDED: dict[type, dict[str, Any]] = {L2SP: {"reference": 0.25}}


TABLE = [
    Row(L1(0.1), lambda x: 0.1 * np.abs(x).sum(), ANY_SHAPE),
    Row(L1(), lambda x: 0.01 * np.abs(x).sum(), ANY_SHAPE),
    Row(L1(0.0), lambda x: 0.0, ANY_SHAPE),
    Row(L2(0.1), lambda x: 0.1 * (x**2).sum(), ANY_SHAPE),
    Row(L2(), lambda x: 0.01 * (x**2).sum(), ANY_SHAPE),
    Row(L1L2(0.1, 0.2), lambda x: 0.1 * np.abs(x).sum() + 0.2 * (x**2).sum(), ANY_SHAPE),
    Row(L1L2(0.3, 0.0), lambda x: 0.3 * np.abs(x).sum(), ANY_SHAPE),
    Row(L1L2(), lambda x: 0.0, ANY_SHAPE),
    Row(OrthogonalRegularizer(0.1), lambda x: 0.1 * mean_absolute_cosine(x), MATRICES, NO_MATRIX),
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
    Row(LInf(0.4), lambda x: 0.4 * float(np.abs(x).max()), ANY_SHAPE),
    Row(LInf(0.2, axis=0), lambda x: 0.2 * sum(float(np.abs(part).max()) for part in x), AN_AXIS, NO_AXIS),
    Row(NuclearNorm(0.2), lambda x: 0.2 * np.linalg.svd(x)[1].sum(), MATRICES, NO_MATRIX),
    Row(
        NuclearNorm(0.2, flatten=True),
        lambda x: 0.2 * np.linalg.svd(flat(x))[1].sum(),
        (*MATRICES, (2, 3, 2)),
        ((4,), ()),
    ),
    Row(SpectralNorm(0.6), lambda x: 0.3 * np.linalg.svd(x)[1][0] ** 2, MATRICES, NO_MATRIX),
    Row(
        SpectralNorm(0.2, flatten=True),
        lambda x: 0.1 * np.linalg.svd(flat(x))[1][0] ** 2,
        (*MATRICES, (2, 3, 2)),
        ((4,), ()),
    ),
    Row(L2SP(0.3, 0.25), lambda x: 0.3 * ((x - 0.25) ** 2).sum(), ANY_SHAPE),
    Row(MCP(0.7), lambda x: minimax_concave(x, 0.7, 3.0), ANY_SHAPE),
    Row(MCP(0.2, gamma=1.5), lambda x: minimax_concave(x, 0.2, 1.5), ANY_SHAPE),
    Row(SCAD(0.5), lambda x: clipped_deviation(x, 0.5, 3.7), ANY_SHAPE),
    Row(SCAD(0.2, gamma=2.5), lambda x: clipped_deviation(x, 0.2, 2.5), ANY_SHAPE),
    Row(HoyerSquare(0.1), lambda x: 0.1 * hoyer_square(x), ((3, 2), (4,), (2, 3, 2), (1, 1), ())),
    Row(TotalVariation(0.1), lambda x: 0.1 * np.abs(np.diff(x)).sum(), AN_AXIS, NO_AXIS),
    Row(TotalVariation(0.3, axis=0), lambda x: 0.3 * np.abs(np.diff(x, axis=0)).sum(), AN_AXIS, NO_AXIS),
    Row(KLSparsity(0.3), lambda x: 0.3 * divergence(x, 0.05, (0,)), AN_AXIS, NO_AXIS, between_0_and_1=True),
    Row(
        KLSparsity(0.3, target=0.4, axis=(0, 2)),
        lambda x: 0.3 * divergence(x, 0.4, (0, 2)),
        ((3, 2, 2), (2, 1, 2, 2)),
        ((4,), (2, 2), ()),
        between_0_and_1=True,
    ),
    Row(Decorrelation(0.3), lambda x: 0.3 * off_diagonal(x), MATRICES, NO_MATRIX),
    Row(Decorrelation(0.3, flatten=True), lambda x: 0.3 * off_diagonal(flat(x)), (*MATRICES, (2, 3, 2)), ((4,), ())),
]

CASES = [(row, shape) for row in TABLE for shape in row.shapes]
