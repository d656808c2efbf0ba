"""The constraints: on the norms of a weight, and on its signs. Source: Keras 3.15.1."""

from __future__ import annotations

from typing import Any

import torch

from penalize.constraints.base import Constraint
from penalize.constraints.weights import Axes, as_axes, as_real, as_weight, rescaled
from penalize.errors import ArgumentError
from penalize.registry import built_in

__all__ = ["MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"]


@built_in("constraint", module="keras.constraints", names=["max_norm"])
class MaxNorm(Constraint):
    """w * clip(n, 0, max_value) / (n + 1e-7), n the Euclidean norms of w over `axis`: none is above `max_value`.

    Parameters
    ----------
    max_value
        The largest norm, a number >= 0; default 2.
    axis
        Along which a norm is taken, in Keras's layout: an integer, a tuple of them, or None for one norm of all;
        default 0. In a dense kernel (in, out), 0 runs over the weights that come into one unit; in a convolution's
        (rows, columns, in, filters), (0, 1, 2) runs over one filter.

    The norms are computed in float32 at least; the result has w's shape and dtype. Raises ArgumentError for bad
    arguments, ShapeError when w has no such axis. Source: Keras 3.15.1.

    >>> MaxNorm(1.0)(torch.tensor([[3.0, 0.3], [4.0, 0.4]]))
    tensor([[0.6000, 0.3000],
            [0.8000, 0.4000]])
    """

    def __init__(self, max_value: float = 2, axis: Axes = 0) -> None:
        self.max_value = as_real("max_value", max_value)
        self.axis = as_axes(axis)

    def __call__(self, w: Any) -> torch.Tensor:
        return rescaled(w, self.axis, lambda norms: norms.clamp(max=self.max_value))


@built_in("constraint", module="keras.constraints", names=["non_neg"])
class NonNeg(Constraint):
    """max(w, 0), entry by entry. Source: Keras 3.15.1.

    >>> NonNeg()(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def __call__(self, w: Any) -> torch.Tensor:
        return torch.relu(as_weight(w))


@built_in("constraint", module="keras.constraints", names=["unit_norm"])
class UnitNorm(Constraint):
    """w / (n + 1e-7), n the Euclidean norms of w over `axis`: each is 1, or 0 where w is.

    `axis` is as in `MaxNorm`, default 0. Raises ArgumentError for a bad axis, ShapeError when w has no such axis.
    Source: Keras 3.15.1.

    >>> UnitNorm()(torch.tensor([[3.0, 0.0], [4.0, 0.0]]))
    tensor([[0.6000, 0.0000],
            [0.8000, 0.0000]])
    """

    def __init__(self, axis: Axes = 0) -> None:
        self.axis = as_axes(axis)

    def __call__(self, w: Any) -> torch.Tensor:
        return rescaled(w, self.axis, lambda norms: 1.0)


@built_in("constraint", module="keras.constraints", names=["min_max_norm"])
class MinMaxNorm(Constraint):
    """w * (rate * clip(n, min_value, max_value) + (1 - rate) * n) / (n + 1e-7), n the Euclidean norms over `axis`.

    Parameters
    ----------
    min_value, max_value
        The smallest and largest norm, numbers >= 0; default 0.0 and 1.0.
    rate
        How much of the way to that range a norm goes in one step, in [0, 1]; default 1.0, all of it.
    axis
        As in `MaxNorm`, default 0.

    Raises ArgumentError for bad arguments, ShapeError when w has no such axis. Source: Keras 3.15.1.

    >>> MinMaxNorm(1.0, 2.0, rate=0.5)(torch.tensor([[3.0], [4.0]]))
    tensor([[2.1000],
            [2.8000]])
    """

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axes = 0) -> None:
        self.min_value = as_real("min_value", min_value)
        self.max_value = as_real("max_value", max_value)
        if self.min_value > self.max_value:
            raise ArgumentError(f"min_value must be <= max_value, got {min_value!r} and {max_value!r}")
        self.rate = as_real("rate", rate, 1.0)
        self.axis = as_axes(axis)

    def __call__(self, w: Any) -> torch.Tensor:
        return rescaled(w, self.axis, self._wanted)

    def _wanted(self, norms: torch.Tensor) -> torch.Tensor:
        return self.rate * norms.clamp(self.min_value, self.max_value) + (1 - self.rate) * norms
