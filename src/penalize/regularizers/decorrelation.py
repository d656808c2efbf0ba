"""Decorrelation: the covariances of units over a batch."""

from __future__ import annotations

from typing import Any

from penalize.registry import built_in
from penalize.regularizers.arrays import namespace, no_terms
from penalize.regularizers.matrices import MatrixRegularizer
from penalize.regularizers.strength import times

__all__ = ["Decorrelation"]


@built_in("regularizer", module="penalize.regularizers", names=["decorrelation"])
class Decorrelation(MatrixRegularizer):
    """DeCov: `strength / 2 * (||C||_F**2 - ||diag(C)||**2)`, C the covariance of units over the examples of a batch.

    That is the sum over pairs of distinct units of their squared covariances, which are averages over the batch. As an
    activity penalty it is paid as it is: it is not divided by the size of the batch once more.

    Takes a matrix (examples, units) (also NumPy and JAX arrays); returns a scalar, float32 for half precision. One
    example, or one unit, gives 0. No closed-form gradient and no proximal step.

    Parameters: `strength`, default 0.01 (also for `None`); `flatten`, default False, True to take outputs of higher
    rank, too, as the matrix (everything, last axis): of images with channels last, every place is an example.

    Raises `StrengthError` for a bad strength, `ArgumentError` for a `flatten` that is no bool, `ShapeError` for a rank
    other than 2 (with `flatten`, below 2), `ArrayError` for values that are not real floating-point numbers. Source:
    Cogswell, Ahmed, Girshick, Zitnick and Batra, Reducing overfitting in deep networks by decorrelating
    representations, 2016.

    >>> import torch
    >>> Decorrelation(0.1)(torch.tensor([[1., 2.], [3., 6.]]))
    tensor(0.4000)
    """

    of_whole_batch = True

    def __call__(self, x: Any) -> Any:
        matrix = self.matrix(x)
        if self.counts_nothing(matrix):
            return no_terms(matrix)
        xp = namespace(x)
        centred = matrix - xp.mean(matrix, 0)
        covariance = xp.matmul(centred.T, centred) / matrix.shape[0]
        return times(self.strength, xp.sum(xp.square(xp.triu(covariance, 1))))
