"""What a strength may be, and the attribute that holds one."""

from __future__ import annotations

import math
import numbers
from typing import Any, overload

import numpy as np
import torch

from penalize.errors import StrengthError

__all__ = ["Strength", "StrengthAttribute", "as_strength", "is_zero", "strength_attributes", "strength_number", "times"]

Strength = float | torch.Tensor


def as_strength(value: Any, argument: str, default: float | None = None) -> Strength:
    """A finite real number >= 0 as a Python float; a 0-d torch tensor stays one, so that it can be changed in place.

    `None` means `default` where there is one. NumPy scalars and 0-d arrays become exact Python floats.

    Raises `StrengthError`, naming the argument and the value, for anything else: booleans, strings, complex numbers,
    NaN, infinities and negative numbers.

    >>> as_strength(0.1, "l1")
    0.1
    >>> as_strength(-1, "l1")
    Traceback (most recent call last):
    ...
    penalize.errors.StrengthError: l1 must be a finite real number >= 0, got -1
    """
    if value is None and default is not None:
        return default
    refusal = StrengthError(f"{argument} must be a finite real number >= 0, got {value!r:.80}")
    if isinstance(value, torch.Tensor):
        if value.ndim != 0 or value.dtype == torch.bool or value.dtype.is_complex:
            raise refusal
        if value.device.type != "meta" and not (0 <= float(value.detach()) < math.inf):
            raise refusal
        return value
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise refusal
    try:
        number = float(value)
    except OverflowError:
        raise refusal from None
    if not 0 <= number < math.inf:
        raise refusal
    return number


def strength_number(value: Strength) -> float:
    """A strength as a Python float, for configs and for reading."""
    return float(value.detach()) if isinstance(value, torch.Tensor) else value


def is_zero(value: Strength) -> bool:
    """Whether a strength is the Python number 0, so that nothing need be summed.

    A strength that is a tensor is never asked for its value, which would stop `torch.compile` and a GPU's queue.
    """
    return not isinstance(value, torch.Tensor) and value == 0


class StrengthAttribute:
    """A strength of a regularizer, checked whenever it is set: by the constructor and later, between steps.

    `default` stands for `None`.
    """

    def __init__(self, default: float) -> None:
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> StrengthAttribute: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Strength: ...
    def __get__(self, instance: object | None, owner: type) -> StrengthAttribute | Strength:
        if instance is None:
            return self
        # A graph takes the tensor as an input; a number would be built in, and the graph made anew when it changes.
        place = f"_{self.name}_in_graphs" if torch.compiler.is_compiling() else self.name
        strength: Strength = instance.__dict__[place]
        return strength

    def __set__(self, instance: Any, value: Any) -> None:
        strength = as_strength(value, self.name, self.default)
        instance.__dict__[self.name] = strength
        if not isinstance(strength, torch.Tensor):
            strength = torch.tensor(strength, dtype=torch.float64, device="cpu")
        instance.__dict__[f"_{self.name}_in_graphs"] = strength


def times(strength: Strength, terms: Any) -> Any:
    """`strength * terms` for a scalar, in its dtype; exactly 0 for a strength of 0, whatever the terms are."""
    if not isinstance(strength, torch.Tensor) or not isinstance(terms, torch.Tensor):
        return strength * terms
    strength = strength.to(terms.dtype)
    return torch.where(strength == 0, torch.zeros_like(terms), strength * terms)


def strength_attributes(regularizer: type) -> tuple[str, ...]:
    """The names of the strengths that a class of regularizers has, in their order: ("l1", "l2") for L1L2."""
    attributes = {name: value for cls in reversed(regularizer.__mro__) for name, value in vars(cls).items()}
    return tuple(name for name, value in attributes.items() if isinstance(value, StrengthAttribute))
