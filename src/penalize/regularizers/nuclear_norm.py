"""NuclearNorm: the sum of a matrix's singular values, by which its rank falls."""

from __future__ import annotations

from typing import Any

import torch

from penalize.registry import built_in
from penalize.regularizers.arrays import namespace, no_terms
from penalize.regularizers.matrices import MatrixRegularizer, above_rounding, scale_singular_values, singular_values
from penalize.regularizers.steps import one_step
from penalize.regularizers.strength import times

__all__ = ["NuclearNorm"]


@built_in("regularizer", module="penalize.regularizers", names=["nuclear_norm"])
class NuclearNorm(MatrixRegularizer):
    """`strength * sum of the singular values` of a matrix: the convex penalty that lowers its rank.

    Takes a matrix (rank 2; also NumPy and JAX arrays); returns a scalar, float32 for half precision. Its gradient is
    `strength * U V^T` over the singular values that are not 0, the shortest of the subgradients. Its proximal step,
    the soft threshold of the singular values, is known for one `step` of all elements only; a tensor of steps that
    differ, as Adam has them, is refused. Each evaluation takes a singular value decomposition.

    Parameters: `strength`, default 0.01 (also for `None`); `flatten`, default False, True to take weights of higher
    rank, too, as the matrix (everything, last axis).

    Raises `StrengthError` for a bad strength, `ArgumentError` for a `flatten` that is no bool and for steps that
    differ, `ShapeError` for a rank other than 2 (with `flatten`, below 2), `ArrayError` for values that are not real
    floating-point numbers. Source: Fazel, Matrix rank minimization with applications, 2002; proximal step: Cai, Candes
    and Shen, A singular value thresholding algorithm for matrix completion, 2010.

    >>> import torch
    >>> NuclearNorm(0.1)(torch.diag(torch.tensor([3., 4.])))
    tensor(0.7000)
    """

    convex = True
    prox_takes_tensors = False

    def __call__(self, x: Any) -> Any:
        matrix = self.matrix(x)
        if self.counts_nothing(matrix):
            return no_terms(matrix)
        return times(self.strength, namespace(x).sum(singular_values(matrix)))

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        matrix = self.matrix(x)
        if self.counts_nothing(matrix):
            return torch.zeros_like(x)
        signs = scale_singular_values(matrix, lambda values: above_rounding(values, matrix.shape).to(matrix.dtype))
        return (signs * self.strength).reshape(x.shape).to(x.dtype)

    def prox(self, x: torch.Tensor, step: float | torch.Tensor) -> torch.Tensor:
        matrix = self.matrix(x)
        threshold = one_step(x, step, "NuclearNorm") * self.strength
        if self.counts_nothing(matrix):
            return x
        found = scale_singular_values(matrix, lambda values: torch.clamp(values - threshold, min=0))
        return found.reshape(x.shape).to(x.dtype)
