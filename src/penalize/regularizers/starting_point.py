"""L2SP: the distance to the weights that training started from, for fine-tuning."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
import torch

from penalize.errors import ArgumentError, ConfigError, ShapeError
from penalize.registry import built_in
from penalize.regularizers.arrays import namespace, no_terms, widen
from penalize.regularizers.base import Regularizer
from penalize.regularizers.strength import StrengthAttribute, is_zero, strength_number, times

__all__ = ["L2SP"]

MOST_VALUES_IN_CONFIGS = 10_000


@built_in("regularizer", module="penalize.regularizers", names=["l2sp", "l2_sp"])
class L2SP(Regularizer):
    """`strength * sum((x - reference)**2)`: weights stay near where they started from, instead of near 0.

    Without a `reference` it is the weights at the time of attaching: `penalize.attach` gives each target a copy of the
    regularizer of its own, which remembers them; so does assigning to `penalties["name"].regularizer`. Given to a layer
    as `kernel_regularizer`, it takes the weights at the time that their penalty is first asked for, so load
    pretrained ones before. A copy of a model keeps the reference. Called before it was placed on weights, it is an
    error.

    Takes a tensor of the reference's shape (also NumPy and JAX arrays); returns a scalar, float32 for half
    precision. Its gradient is `2 * strength * (x - reference)`; its proximal step, for one `step` and for one of
    each element, is `(x + 2 * step * strength * reference) / (1 + 2 * step * strength)`.

    Parameters: `strength`, default 0.01 (also for `None`), without a factor one half, as in `L2`; `reference`, default
    None: a tensor, an array, nested lists or a number for all elements, in the layout in which the regularizer
    sees the weight.

    A config, and so a file or a plan, holds a given reference of up to 10,000 values, and None for one that was
    taken from the weights: what is loaded then starts from the weights that it is placed on.

    Raises `StrengthError` for a bad strength, `ArgumentError` for a reference that is not made of finite numbers and
    for a call without one, `ShapeError` for a tensor of another shape, `ArrayError` for values that are not real
    floating-point numbers, `ConfigError` for a config of a larger reference. Source: Li, Grandvalet and Davoine,
    Explicit inductive bias for transfer learning with convolutional networks, 2018.

    >>> import torch, penalize
    >>> model = torch.nn.Linear(2, 1)
    >>> penalties = penalize.attach(model, weights={"weight": L2SP(0.1)})
    >>> _ = model.weight.data.add_(2.0)
    >>> round(penalties.value(), 5)
    0.8
    >>> L2SP(0.1, reference=1.0)(torch.tensor([1., 3.]))
    tensor(0.4000)
    """

    convex = True
    strength = StrengthAttribute(default=0.01)

    def __init__(self, strength: Any = 0.01, reference: Any = None) -> None:
        self.strength = strength
        self.reference = None if reference is None else _reference(reference)
        self._start: torch.Tensor | None = None

    @property
    def elementwise(self) -> bool:  # type: ignore[override]
        """Whether all elements have the same reference, so that each part of a tensor could be penalized alone."""
        return self.reference is not None and self.reference.ndim == 0

    @property
    def needs_start(self) -> bool:
        """Whether the weights that it starts from are not known yet."""
        return self.reference is None and self._start is None

    def placed_on(self, x: torch.Tensor) -> Self:
        """Itself, or without a reference a copy that remembers the values of `x` as they are now."""
        if not self.needs_start:
            return self
        placed = copy.copy(self)
        placed._start = x.detach().clone()
        return placed

    def __call__(self, x: Any) -> Any:
        wide = widen(x, "L2SP")
        if is_zero(self.strength):
            return no_terms(wide)
        xp = namespace(x)
        return times(self.strength, xp.sum(xp.square(wide - self._like(wide))))

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        wide = widen(x, "L2SP")
        found: torch.Tensor = (wide - self._like(wide)) * (2 * self.strength)
        return found.to(x.dtype)

    def prox(self, x: torch.Tensor, step: float | torch.Tensor) -> torch.Tensor:
        wide = widen(x, "L2SP")
        pull = 2 * step * self.strength
        found: torch.Tensor = (wide + pull * self._like(wide)) / (1 + pull)
        return found.to(x.dtype)

    def _like(self, x: Any) -> Any:
        """The reference as an array like x; ShapeError where it is not of its shape."""
        reference = self._start if self.reference is None else self.reference
        if reference is None:
            raise ArgumentError(
                "L2SP has no reference: attach it to weights, which it takes for its start, or give it a reference"
            )
        if reference.ndim and reference.shape != tuple(x.shape):
            raise ShapeError(
                f"L2SP takes a tensor of the shape of its reference, {tuple(reference.shape)}, got {tuple(x.shape)}"
            )
        if isinstance(x, torch.Tensor):
            if reference.device != x.device and self._start is not None:
                self._start = reference = reference.to(x.device)
            return reference.to(device=x.device, dtype=x.dtype)
        return namespace(x).asarray(reference.detach().cpu().numpy(), dtype=x.dtype)

    def get_config(self) -> dict[str, Any]:
        reference = self.reference
        if reference is not None and reference.numel() > MOST_VALUES_IN_CONFIGS:
            raise ConfigError(
                f"L2SP: a reference of {reference.numel()} values is not written to a config, which holds up to "
                f"{MOST_VALUES_IN_CONFIGS}: attach L2SP() to the weights it starts from instead"
            )
        return {
            "strength": strength_number(self.strength),
            "reference": None if reference is None else reference.tolist(),
        }

    def __repr__(self) -> str:
        reference = self._start if self.reference is None else self.reference
        shown = "None" if reference is None else f"<{tuple(reference.shape)}>" if reference.ndim else float(reference)
        return f"L2SP(strength={strength_number(self.strength)!r}, reference={shown})"


def _reference(value: Any) -> torch.Tensor:
    """A reference as a tensor of its own: as it is, or of float64 for what was no tensor."""
    refusal = f"reference must be a tensor, an array, nested lists or a number, all finite, got {value!r:.80}"
    if isinstance(value, torch.Tensor):
        tensor = value.detach().clone()
    else:
        try:
            array = np.asarray(value)
        except (ValueError, TypeError) as error:
            raise ArgumentError(refusal) from error
        if array.dtype.kind not in "fiu":
            raise ArgumentError(refusal)
        tensor = torch.from_numpy(array.astype(np.float64))
    if not tensor.is_floating_point() or tensor.is_meta or not bool(torch.isfinite(tensor).all()):
        raise ArgumentError(refusal)
    return tensor
