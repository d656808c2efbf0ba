"""OrthogonalRegularizer: the rows or columns of a matrix pushed towards right angles."""

from __future__ import annotations

from typing import Any

from penalize.errors import ArgumentError
from penalize.registry import built_in
from penalize.regularizers.arrays import namespace, no_terms, stop_gradient
from penalize.regularizers.base import Regularizer
from penalize.regularizers.matrices import as_flatten, as_matrix
from penalize.regularizers.strength import StrengthAttribute, is_zero, strength_number, times

__all__ = ["OrthogonalRegularizer"]

MODES = ("rows", "columns")


@built_in("regularizer", module="keras.regularizers", names=["orthogonal_regularizer"])
class OrthogonalRegularizer(Regularizer):
    """`factor * mean(abs(cosine(a, b)))` over the pairs of distinct rows (or columns) a, b of a matrix.

    0 for an orthogonal set, `factor` when all are parallel, whatever their lengths. One row alone has no pair: 0. A
    zero row has cosine 0 with every other, and a gradient of 0.

    Takes a matrix (rank 2) of Keras's layout, so that the columns of a Dense kernel are its units (also NumPy and JAX
    arrays); returns a scalar, float32 for half precision. No closed-form gradient and no proximal step.

    Parameters: `factor`, the strength, default 0.01 (also for `None`); `mode`, "rows" (default) or "columns";
    `flatten`, True to take weights of higher rank, too, as the matrix (everything, last axis): for a convolution
    kernel, "columns" are then its filters. Keras has no `flatten`; the config names it only where it is True.

    Raises `StrengthError` for a bad factor, `ArgumentError` for another mode or a `flatten` that is no bool,
    `ShapeError` for a rank other than 2 (with `flatten`, below 2), `ArrayError` for values that are not real
    floating-point numbers. Source: Keras 3.15.1.

    >>> import torch
    >>> OrthogonalRegularizer(1.0)(torch.eye(3))
    tensor(0.)
    >>> OrthogonalRegularizer(0.5)(torch.tensor([[1., 1.], [2., 2.]]))
    tensor(0.5000)
    """

    factor = StrengthAttribute(default=0.01)

    def __init__(self, factor: Any = 0.01, mode: str = "rows", flatten: bool = False) -> None:
        self.factor = factor
        if mode not in MODES:
            raise ArgumentError(f'mode must be "rows" or "columns", got {mode!r}')
        self.mode = mode
        self.flatten = as_flatten(flatten)

    def __call__(self, x: Any) -> Any:
        xp = namespace(x)
        wide = as_matrix(x, self.flatten, "OrthogonalRegularizer")
        vectors = wide if self.mode == "rows" else wide.T
        count, length = vectors.shape
        if count < 2 or length == 0 or is_zero(self.factor):
            return no_terms(wide)
        units = self._unit_vectors(vectors)
        cosines = xp.abs(xp.matmul(units, units.T))
        pairs = count * (count - 1) / 2
        return times(self.factor, xp.sum(xp.triu(cosines, 1)) / pairs)

    @staticmethod
    def _unit_vectors(vectors: Any) -> Any:
        """Each row divided by its length; zero rows stay zero.

        Divided first by the largest absolute value, so that neither tiny nor huge rows lose their direction. A cosine
        does not change with a row's scale, so that value is a constant for autograd.
        """
        xp = namespace(vectors)
        largest = stop_gradient(xp.amax(xp.abs(vectors), 1))[:, None]
        scaled = vectors / xp.where(largest == 0, xp.ones_like(largest), largest)
        squares = xp.sum(xp.square(scaled), 1)[:, None]
        return scaled / xp.sqrt(xp.where(largest == 0, xp.ones_like(squares), squares))

    def get_config(self) -> dict[str, Any]:
        config = {"factor": strength_number(self.factor), "mode": self.mode}
        return {**config, "flatten": True} if self.flatten else config
