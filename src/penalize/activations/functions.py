"""The activation functions: tensors of any shape in, the same shape out, with Keras 3.15.1's names and defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from penalize.errors import ArgumentError
from penalize.registry import built_in

__all__ = [
    "celu",
    "elu",
    "exponential",
    "gelu",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "tanh",
    "tanh_shrink",
    "threshold",
]

Activation = TypeVar("Activation", bound=Callable[..., Tensor])


def activation(names: Iterable[str] = ()) -> Callable[[Activation], Activation]:
    return built_in("activation", module="keras.activations", names=names)


@activation()
def linear(x: Tensor) -> Tensor:
    """x."""
    return x


@activation()
def relu(x: Tensor, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Tensor:
    """x above `threshold`, at most `max_value`; `negative_slope * (x - threshold)` elsewhere.

    >>> relu(torch.tensor([-1.0, 0.5, 9.0]), negative_slope=0.1, max_value=6.0)
    tensor([-0.1000,  0.5000,  6.0000])
    """
    if negative_slope == 0 and threshold == 0:
        y = functional.relu(x)
    elif threshold == 0:
        y = functional.leaky_relu(x, negative_slope)
    else:
        y = torch.where(x > threshold, x, negative_slope * (x - threshold))
    return y if max_value is None else y.clamp(max=max_value)


@activation()
def leaky_relu(x: Tensor, negative_slope: float = 0.2) -> Tensor:
    """x where positive, `negative_slope * x` elsewhere."""
    return functional.leaky_relu(x, negative_slope)


@activation()
def relu6(x: Tensor) -> Tensor:
    """x clipped to [0, 6]."""
    return functional.relu6(x)


@activation()
def softmax(x: Tensor, axis: int | Sequence[int] = -1) -> Tensor:
    """`exp(x) / sum(exp(x))` along `axis`; over several axes together if it is a sequence.

    >>> softmax(torch.zeros(2, 2), axis=(0, 1))
    tensor([[0.2500, 0.2500],
            [0.2500, 0.2500]])
    """
    if isinstance(axis, int):
        return functional.softmax(x, axis)
    return (x - torch.logsumexp(x, tuple(axis), keepdim=True)).exp()


@activation()
def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """`x - log(sum(exp(x)))` along `axis`."""
    return functional.log_softmax(x, axis)


@activation()
def sparsemax(x: Tensor, axis: int = -1) -> Tensor:
    """The nearest point to x, along `axis`, of those that are >= 0 and sum to 1; many of its elements are exactly 0.

    `max(x - tau, 0)` with tau from the k largest: `tau = (sum_k - 1) / k` for the largest k with
    `1 + k x_k > sum_k`. Source: Martins and Astudillo, From Softmax to Sparsemax, 2016, algorithm 1. Keras
    3.15.1 gives other values, which do not sum to 1.

    >>> sparsemax(torch.tensor([1.0, 2.0, 1.5]))
    tensor([0.0000, 0.7500, 0.2500])
    """
    ordered = x.sort(axis, descending=True).values
    sums = ordered.cumsum(axis)
    shape = [1] * x.ndim
    shape[axis] = -1
    counts = torch.arange(1, x.shape[axis] + 1, dtype=x.dtype, device=x.device).reshape(shape)
    k = (1.0 + counts * ordered > sums).sum(axis, keepdim=True)
    tau = (sums.gather(axis, k - 1) - 1.0) / k
    return (x - tau).clamp(min=0.0)


@activation()
def sigmoid(x: Tensor) -> Tensor:
    """`1 / (1 + exp(-x))`."""
    return torch.sigmoid(x)


@activation()
def log_sigmoid(x: Tensor) -> Tensor:
    """`-log(1 + exp(-x))`."""
    return functional.logsigmoid(x)


@activation()
def hard_sigmoid(x: Tensor) -> Tensor:
    """`x / 6 + 1 / 2` clipped to [0, 1]."""
    return functional.hardsigmoid(x)


@activation()
def sparse_sigmoid(x: Tensor) -> Tensor:
    """`(x + 1) / 2` clipped to [0, 1]."""
    return (0.5 * (x + 1.0)).clamp(0.0, 1.0)


@activation(["swish"])
def silu(x: Tensor) -> Tensor:
    """`x sigmoid(x)`."""
    return functional.silu(x)


@activation(["hard_swish"])
def hard_silu(x: Tensor) -> Tensor:
    """`x hard_sigmoid(x)`."""
    return functional.hardswish(x)


@activation()
def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return torch.tanh(x)


@activation()
def hard_tanh(x: Tensor) -> Tensor:
    """x clipped to [-1, 1]."""
    return functional.hardtanh(x)


@activation()
def tanh_shrink(x: Tensor) -> Tensor:
    """`x - tanh(x)`."""
    return functional.tanhshrink(x)


@activation()
def hard_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """x where `abs(x) > threshold`, 0 elsewhere."""
    return functional.hardshrink(x, threshold)


@activation()
def soft_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """`sign(x) max(abs(x) - threshold, 0)`."""
    return functional.softshrink(x, threshold)


@activation()
def threshold(x: Tensor, threshold: float, default_value: float) -> Tensor:
    """x where `x > threshold`, `default_value` elsewhere."""
    return functional.threshold(x, threshold, default_value)


@activation()
def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where positive, `alpha (exp(x) - 1)` elsewhere."""
    return functional.elu(x, alpha)


@activation()
def selu(x: Tensor) -> Tensor:
    """`1.0507 elu(x, 1.6733)`: Klambauer et al., 2017."""
    return functional.selu(x)


@activation()
def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where positive, `alpha (exp(x / alpha) - 1)` elsewhere."""
    return functional.celu(x, alpha)


@activation()
def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """x times the normal distribution's P(X <= x), or with `approximate` its tanh formula."""
    return functional.gelu(x, approximate="tanh" if approximate else "none")


@activation()
def glu(x: Tensor, axis: int = -1) -> Tensor:
    """`a sigmoid(b)`, a and b the first and the second half of x along `axis`.

    Raises `ArgumentError` when `axis` has an odd size.
    """
    if x.shape[axis] % 2:
        raise ArgumentError(f"glu halves axis {axis}, so its size must be even, got shape {tuple(x.shape)}")
    return functional.glu(x, axis)


@activation()
def mish(x: Tensor) -> Tensor:
    """`x tanh(softplus(x))`."""
    return functional.mish(x)


@activation()
def softplus(x: Tensor) -> Tensor:
    """`log(1 + exp(x))`."""
    return functional.softplus(x)


@activation()
def sparse_plus(x: Tensor) -> Tensor:
    """0 below -1, x above 1, `(x + 1)**2 / 4` between."""
    return torch.where(x < 1.0, 0.25 * (x + 1.0).clamp(min=0.0).square(), x)


@activation()
def squareplus(x: Tensor, b: float = 4) -> Tensor:
    """`(x + sqrt(x**2 + b)) / 2`."""
    return 0.5 * (x + (x.square() + b).sqrt())


@activation()
def softsign(x: Tensor) -> Tensor:
    """`x / (1 + abs(x))`."""
    return functional.softsign(x)


@activation()
def exponential(x: Tensor) -> Tensor:
    """`exp(x)`."""
    return torch.exp(x)
