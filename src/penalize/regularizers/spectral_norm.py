"""SpectralNorm: the square of a matrix's largest singular value."""

from __future__ import annotations

from typing import Any

import torch

from penalize.registry import built_in
from penalize.regularizers.arrays import namespace, no_terms
from penalize.regularizers.matrices import MatrixRegularizer, scale_singular_values, singular_values
from penalize.regularizers.steps import one_step
from penalize.regularizers.strength import times

__all__ = ["SpectralNorm"]


@built_in("regularizer", module="penalize.regularizers", names=["spectral_norm"])
class SpectralNorm(MatrixRegularizer):
    """`strength / 2 * sigma**2`, sigma the largest singular value of a matrix: how much it can stretch a vector.

    Takes a matrix (rank 2; also NumPy and JAX arrays); returns a scalar, float32 for half precision. Its gradient is
    `strength * sigma * u v^T`. Its proximal step, which cuts the singular values at one height, is known for one `step`
    of all elements only. Each evaluation takes a singular value decomposition: exact, where the paper has one step of
    the power method.

    Parameters: `strength`, default 0.01 (also for `None`), with the paper's factor one half; `flatten`, default False,
    True to take weights of higher rank, too, as the matrix (everything, last axis): the paper's for a convolution
    kernel of Keras's layout.

    Raises `StrengthError` for a bad strength, `ArgumentError` for a `flatten` that is no bool and for steps that
    differ, `ShapeError` for a rank other than 2 (with `flatten`, below 2), `ArrayError` for values that are not real
    floating-point numbers. Source: Yoshida and Miyato, Spectral norm regularization for improving the generalizability
    of deep learning, 2017.

    >>> import torch
    >>> SpectralNorm(0.1)(torch.diag(torch.tensor([3., 4.])))
    tensor(0.8000)
    """

    convex = True
    prox_takes_tensors = False

    def __call__(self, x: Any) -> Any:
        matrix = self.matrix(x)
        if self.counts_nothing(matrix):
            return no_terms(matrix)
        return times(self.strength, namespace(x).square(singular_values(matrix)[0]) / 2)

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        matrix = self.matrix(x)
        if self.counts_nothing(matrix):
            return torch.zeros_like(x)
        first = torch.zeros(min(matrix.shape), dtype=matrix.dtype, device=matrix.device)
        first[0] = 1
        found = scale_singular_values(matrix, lambda values: values * first) * self.strength
        return found.reshape(x.shape).to(x.dtype)

    def prox(self, x: torch.Tensor, step: float | torch.Tensor) -> torch.Tensor:
        matrix = self.matrix(x)
        factor = one_step(x, step, "SpectralNorm") * self.strength
        if self.counts_nothing(matrix):
            return x

        def cut(values: torch.Tensor) -> torch.Tensor:
            # The height t solves factor * t = sum(max(values - t, 0)), so it is the largest of these quotients.
            counts = torch.arange(1, len(values) + 1, dtype=values.dtype, device=values.device)
            return torch.minimum(values, (values.cumsum(0) / (counts + factor)).max())

        return scale_singular_values(matrix, cut).reshape(x.shape).to(x.dtype)
