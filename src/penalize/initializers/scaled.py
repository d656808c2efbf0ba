"""Initializers whose variance follows the number of a weight's inputs and outputs. Source: Keras 3.15.1."""

from __future__ import annotations

import math
from typing import Any

import torch

from penalize.arguments import number
from penalize.errors import ArgumentError
from penalize.initializers.base import as_shape
from penalize.initializers.draws import Drawn, truncated_normal
from penalize.registry import built_in

__all__ = [
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "LecunNormal",
    "LecunUniform",
    "VarianceScaling",
    "fans",
]

MODES = ("fan_in", "fan_out", "fan_avg")
DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")

# The standard deviation of a standard normal distribution without what is beyond 2: sqrt(1 - 4 pdf(2) / P(abs(x) < 2)).
TRUNCATED_STDDEV = math.sqrt(1.0 - 4.0 * math.exp(-2.0) / math.sqrt(2.0 * math.pi) / math.erf(math.sqrt(2.0)))


def fans(shape: tuple[int, ...]) -> tuple[float, float]:
    """How many inputs an output has and how many outputs an input, of a weight of this shape in Keras layout.

    (in, out) for a matrix, with the size of the kernel times both for (k..., in, out); a vector's length is both.

    >>> fans((3, 3, 5, 7))
    (45.0, 63.0)
    """
    if len(shape) < 2:
        size = float(shape[0]) if shape else 1.0
        return size, size
    field = math.prod(shape[:-2])
    return float(field * shape[-2]), float(field * shape[-1])


@built_in("initializer", module="keras.initializers", names=["variance_scaling"])
class VarianceScaling(Drawn):
    """Mean 0 and variance `scale / n`, n the inputs, the outputs or the mean of both, see `fans`.

    Parameters: `scale` 1, above 0; `mode` "fan_in", "fan_out" or "fan_avg"; `distribution` "truncated_normal" (also
    "normal"; within two standard deviations of the distribution that is truncated), "untruncated_normal" or "uniform"
    (within sqrt(3 scale / n)); `seed`.

    Raises `ArgumentError`, naming the argument.

    >>> VarianceScaling(mode="fan_avg", distribution="uniform", seed=0)((3, 3)).abs().max() < 1
    tensor(True)
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        self.scale = number("scale", scale, 0.0, above=True)
        if mode not in MODES:
            raise ArgumentError(f"mode must be one of {', '.join(MODES)}, got {mode!r:.80}")
        self.mode = mode
        lowered = distribution.lower() if isinstance(distribution, str) else distribution
        self.distribution = "truncated_normal" if lowered == "normal" else lowered
        if self.distribution not in DISTRIBUTIONS:
            raise ArgumentError(f"distribution must be one of {', '.join(DISTRIBUTIONS)}, got {distribution!r:.80}")

    def __call__(self, shape: Any, dtype: Any = None) -> torch.Tensor:
        sizes = as_shape(shape)
        fan_in, fan_out = fans(sizes)
        count = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}[self.mode]
        stddev = math.sqrt(self.scale / max(count, 1.0))

        def fill(x: torch.Tensor, generator: torch.Generator | None) -> None:
            if self.distribution == "uniform":
                limit = math.sqrt(3.0) * stddev
                x.uniform_(-limit, limit, generator=generator)
            elif self.distribution == "truncated_normal":
                truncated_normal(x, 0.0, stddev / TRUNCATED_STDDEV, generator)
            else:
                x.normal_(0.0, stddev, generator=generator)

        return self.draw(sizes, dtype, fill)


@built_in("initializer", module="keras.initializers", names=["glorot_uniform"])
class GlorotUniform(VarianceScaling):
    """Uniform within sqrt(6 / (in + out)): Glorot and Bengio, 2010."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed)


@built_in("initializer", module="keras.initializers", names=["glorot_normal"])
class GlorotNormal(VarianceScaling):
    """Truncated normal with variance 2 / (in + out): Glorot and Bengio, 2010."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_avg", "truncated_normal", seed)


@built_in("initializer", module="keras.initializers", names=["he_uniform"])
class HeUniform(VarianceScaling):
    """Uniform within sqrt(6 / in): He et al., 2015."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "uniform", seed)


@built_in("initializer", module="keras.initializers", names=["he_normal"])
class HeNormal(VarianceScaling):
    """Truncated normal with variance 2 / in: He et al., 2015."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "truncated_normal", seed)


@built_in("initializer", module="keras.initializers", names=["lecun_uniform"])
class LecunUniform(VarianceScaling):
    """Uniform within sqrt(3 / in): Klambauer et al., 2017."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "uniform", seed)


@built_in("initializer", module="keras.initializers", names=["lecun_normal"])
class LecunNormal(VarianceScaling):
    """Truncated normal with variance 1 / in: Klambauer et al., 2017."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "truncated_normal", seed)
