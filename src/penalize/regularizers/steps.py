"""The step of a proximal step: one number for all elements, or a tensor with one for each."""

from __future__ import annotations

import torch

from penalize.errors import ArgumentError, ShapeError

__all__ = ["one_step", "step_of_each", "steps_like"]


def steps_like(x: torch.Tensor, step: float | torch.Tensor, regularizer: str) -> float | torch.Tensor:
    """The step as a number (also a tensor of rank 0), or as a tensor of x's shape, dtype and device.

    Raises `ShapeError` for a tensor of another shape.
    """
    if not isinstance(step, torch.Tensor):
        return step
    if step.ndim and step.shape != x.shape:
        raise ShapeError(
            f"the step of {regularizer} is a number or a tensor of shape {tuple(x.shape)}, got {tuple(step.shape)}"
        )
    return step.to(device=x.device, dtype=x.dtype)


def step_of_each(x: torch.Tensor, step: float | torch.Tensor, regularizer: str) -> torch.Tensor:
    """The step of each element: a tensor of x's shape, dtype and device."""
    given = steps_like(x, step, regularizer)
    return given.expand(x.shape) if isinstance(given, torch.Tensor) else torch.full_like(x, given)


def one_step(x: torch.Tensor, step: float | torch.Tensor, regularizer: str) -> float | torch.Tensor:
    """The step as one number, for penalties whose proximal step no other one has.

    Raises `ArgumentError` for a tensor of steps that differ.
    """
    given = steps_like(x, step, regularizer)
    if not isinstance(given, torch.Tensor) or given.ndim == 0 or not given.numel():
        return given if not isinstance(given, torch.Tensor) or given.ndim == 0 else 0.0
    first = given.flatten()[0]
    if not bool((given == first).all()):
        raise ArgumentError(
            f"the proximal step of {regularizer} is known for one step size of all elements, got sizes from "
            f"{float(given.min()):.3g} to {float(given.max()):.3g}: take an optimizer with one, such as SGD"
        )
    return first
