"""Initializers that draw from one distribution, whatever the shape; and orthogonal matrices. Source: Keras 3.15.1."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import init

from penalize.arguments import as_dtype, number
from penalize.errors import ArgumentError, ShapeError
from penalize.initializers.base import Initializer, as_shape
from penalize.registry import built_in

__all__ = ["Drawn", "Orthogonal", "RandomNormal", "RandomUniform", "TruncatedNormal"]

Fill = Callable[[torch.Tensor, torch.Generator | None], Any]


class Drawn(Initializer):
    """What all have in common: `seed`, None to draw from torch's global generator, or an integer, with which every call
    gives the same values.

    Keras draws a seed for None when the initializer is made, so that two calls of one give the same there too.
    """

    def __init__(self, seed: int | None = None) -> None:
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int | np.integer)):
            raise ArgumentError(f"seed must be None or an integer, got {seed!r:.80}")
        self.seed = None if seed is None else int(seed)

    def draw(self, shape: tuple[int, ...], dtype: Any, fill: Fill) -> torch.Tensor:
        """A tensor that `fill` has filled, drawn in float32 at least.

        With a seed on the CPU, whose numbers are the same on every machine; then moved to torch's default device.
        """
        kind = as_dtype(dtype)
        if not kind.is_floating_point:
            raise ArgumentError(f"{type(self).__name__} draws floating-point numbers, got dtype {kind}")
        generator = None if self.seed is None else torch.Generator("cpu").manual_seed(self.seed)
        device = torch.get_default_device()
        wide = torch.float64 if kind == torch.float64 else torch.float32
        tensor = torch.empty(shape, dtype=wide, device=device if generator is None else "cpu")
        if tensor.numel():
            with torch.no_grad():
                fill(tensor, generator)
        return tensor.to(device, kind)


@built_in("initializer", module="keras.initializers", names=["random_normal", "normal"])
class RandomNormal(Drawn):
    """Normal, with `mean` 0 and `stddev` 0.05.

    >>> RandomNormal(seed=1)((2, 3)).shape
    torch.Size([2, 3])
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.mean = number("mean", mean)
        self.stddev = number("stddev", stddev, 0.0)

    def __call__(self, shape: Any, dtype: Any = None) -> torch.Tensor:
        return self.draw(
            as_shape(shape), dtype, lambda x, generator: x.normal_(self.mean, self.stddev, generator=generator)
        )


@built_in("initializer", module="keras.initializers", names=["random_uniform", "uniform"])
class RandomUniform(Drawn):
    """Uniform between `minval` -0.05 and `maxval` 0.05.

    Raises `ArgumentError` when minval is above maxval.
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.minval = number("minval", minval)
        self.maxval = number("maxval", maxval)
        if self.minval > self.maxval:
            raise ArgumentError(f"minval must not be above maxval, got minval={minval!r}, maxval={maxval!r}")

    def __call__(self, shape: Any, dtype: Any = None) -> torch.Tensor:
        return self.draw(
            as_shape(shape), dtype, lambda x, generator: x.uniform_(self.minval, self.maxval, generator=generator)
        )


@built_in("initializer", module="keras.initializers", names=["truncated_normal"])
class TruncatedNormal(Drawn):
    """Normal, with `mean` 0 and `stddev` 0.05 before values beyond two stddev from the mean are drawn again."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.mean = number("mean", mean)
        self.stddev = number("stddev", stddev, 0.0)

    def __call__(self, shape: Any, dtype: Any = None) -> torch.Tensor:
        return self.draw(
            as_shape(shape), dtype, lambda x, generator: truncated_normal(x, self.mean, self.stddev, generator)
        )


@built_in("initializer", module="keras.initializers", names=["orthogonal", "OrthogonalInitializer"])
class Orthogonal(Drawn):
    """`gain` (default 1) times orthonormal columns, or rows where there are fewer of these.

    A shape of more than two axes is one of a matrix with all but the last axis as its rows.

    Raises `ShapeError` for fewer than two axes.

    >>> q = Orthogonal(seed=0)((3, 2))
    >>> torch.allclose(q.T @ q, torch.eye(2), atol=1e-6)
    True
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = number("gain", gain)

    def __call__(self, shape: Any, dtype: Any = None) -> torch.Tensor:
        sizes = as_shape(shape)
        if len(sizes) < 2:
            raise ShapeError(f"Orthogonal makes tensors of two axes or more, got shape {sizes}")
        matrix = self.draw(
            (math.prod(sizes[:-1]), sizes[-1]),
            dtype,
            lambda x, generator: init.orthogonal_(x, self.gain, generator=generator),
        )
        return matrix.reshape(sizes)


def truncated_normal(x: torch.Tensor, mean: float, stddev: float, generator: torch.Generator | None) -> torch.Tensor:
    """Fill x from the normal distribution, without what is beyond two standard deviations."""
    if stddev == 0:
        return x.fill_(mean)
    return init.trunc_normal_(x, mean, stddev, mean - 2 * stddev, mean + 2 * stddev, generator=generator)
