"""The base class of regularizers: what one must define, and what it may declare besides."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, Self

import torch

__all__ = [
    "Regularizer",
    "has_diagonal_prox",
    "has_gradient",
    "has_prox",
    "is_convex",
    "is_elementwise",
    "is_of_whole_batch",
    "needs_start",
]


class Regularizer(abc.ABC):
    """A function from a tensor to a scalar, the penalty.

    A subclass defines `__call__`. If its constructor takes arguments, it defines `get_config` too, so that it can be
    saved and cloned. It may define

    - `gradient(x)`, the penalty's gradient in closed form, of x's shape and dtype. Without it autograd is asked;
    - `prox(x, step)`, the proximal step argmin_w R(w) + sum((w - x)**2 / (2 step)), for a positive `step` that is a
      number or a tensor of x's shape;
    - `prox_takes_tensors = False`, when that step is known for one number alone, as the nuclear norm's is: a tensor of
      steps that differ is then refused;
    - `elementwise = True`, when the penalty is a sum over elements, each on its own;
    - `convex = True`, when it is convex, so that a proximal step has one result for every `step`;
    - `of_whole_batch = True`, when as the penalty of an output it is one of the whole batch, of averages over it, and
      so is not divided by the size of the batch;
    - `needs_start` and `placed_on(x)`, when it depends on what the weight is at the time it is placed on it.

    Source: the interface is Keras's (3.15.1, `keras.regularizers.Regularizer`), the optional methods are ours.

    >>> import torch
    >>> class Cubes(Regularizer):
    ...     def __init__(self, strength=0.01):
    ...         self.strength = strength
    ...     def __call__(self, x):
    ...         return self.strength * (x.abs() ** 3).sum()
    ...     def get_config(self):
    ...         return {"strength": self.strength}
    >>> Cubes(0.5)(torch.full((2,), 2.0))
    tensor(8.)
    >>> Cubes.from_config(Cubes(0.5).get_config())
    Cubes(strength=0.5)
    """

    elementwise: ClassVar[bool] = False
    convex: ClassVar[bool] = False
    prox_takes_tensors: ClassVar[bool] = True
    of_whole_batch: ClassVar[bool] = False

    @property
    def needs_start(self) -> bool:
        """Whether it can only be called after `placed_on`."""
        return False

    def placed_on(self, x: torch.Tensor) -> Self:
        """The regularizer that is to be paid on a weight that is now `x`: itself, as a rule."""
        return self

    @abc.abstractmethod
    def __call__(self, x: Any) -> Any:
        """The penalty of `x`: a scalar."""

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        """The gradient of the penalty at `x`, of x's shape and dtype, without a graph."""
        raise NotImplementedError(f"{type(self).__name__} declares no closed-form gradient")

    def prox(self, x: torch.Tensor, step: float | torch.Tensor) -> torch.Tensor:
        """The proximal step: argmin over w of R(w) + sum((w - x)**2 / (2 step))."""
        raise NotImplementedError(f"{type(self).__name__} declares no proximal step")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments by name; to be defined by every class whose constructor takes any."""
        if type(self).__init__ is object.__init__:
            return {}
        raise NotImplementedError(
            f"{type(self).__name__} takes constructor arguments, so it must define get_config() to be saved or cloned"
        )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A new regularizer with the arguments that `get_config` gave."""
        return cls(**config)

    def __repr__(self) -> str:
        try:
            config = self.get_config()
        except NotImplementedError:
            return f"{type(self).__name__}(...)"
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in config.items())})"


def has_gradient(regularizer: Any) -> bool:
    """Whether a closed-form gradient is declared that belongs to this regularizer's own penalty."""
    return _declares(regularizer, "gradient")


def has_prox(regularizer: Any) -> bool:
    """Whether a proximal step is declared that belongs to this regularizer's own penalty."""
    return _declares(regularizer, "prox")


def has_diagonal_prox(regularizer: Any) -> bool:
    """Whether that proximal step is also declared for a tensor of steps, one for each element."""
    return has_prox(regularizer) and bool(regularizer.prox_takes_tensors)


def is_convex(regularizer: Any) -> bool:
    """Whether this regularizer's own penalty is declared convex."""
    return bool(getattr(regularizer, "convex", False)) and _declares(regularizer, "convex")


def is_of_whole_batch(regularizer: Any) -> bool:
    """Whether, as the penalty of an output, it is one of the whole batch: not to be divided by the batch's size."""
    return isinstance(regularizer, Regularizer) and regularizer.of_whole_batch


def needs_start(regularizer: Any) -> bool:
    """Whether a regularizer must be told the weight that it starts from, by `placed_on`, before it can be called."""
    return isinstance(regularizer, Regularizer) and regularizer.needs_start


def is_elementwise(regularizer: Any) -> bool:
    """Whether it is declared that this regularizer's own penalty is a sum over elements, each on its own."""
    return bool(getattr(regularizer, "elementwise", False)) and _declares(regularizer, "elementwise")


def _declares(regularizer: Any, attribute: str) -> bool:
    # A subclass that redefines the penalty and inherits the method, or mark, has not declared it: the inherited one is
    # of another function.
    for cls in type(regularizer).__mro__:
        if cls is Regularizer or cls is object:
            return False
        if attribute in cls.__dict__:
            return isinstance(regularizer, Regularizer)
        if "__call__" in cls.__dict__:
            return False
    return False
