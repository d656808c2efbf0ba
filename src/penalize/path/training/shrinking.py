"""Proximal steps of stacked weights."""

from __future__ import annotations

import functools

import torch
from torch.func import vmap

from penalize.evaluation import StepSizes
from penalize.path.training.penalized import Elementwise
from penalize.placement import WeightTarget

__all__ = ["shrink_elementwise", "shrink_generally"]


def shrink_elementwise(x: torch.Tensor, sizes: StepSizes, factors: Elementwise) -> None:
    """`x = sign(x) max(abs(x) - h l1, 0) / (1 + 2 h l2)`, in place, for weights x (models, ...).

    h are the step sizes; l1 and l2 have one factor a model.
    """
    l1, l2 = factors
    denominator = None if sizes.squares is None else sizes.denominator(sizes.squares)
    if l1 is not None:
        threshold = l1 * sizes.scale if denominator is None else (l1 * sizes.scale) / denominator
        x.sub_(torch.clamp(x, -threshold, threshold))
    if l2 is not None:
        twice = l2 * (2 * sizes.scale)
        if denominator is None:
            x.div_(1 + twice)
        else:
            x.mul_(denominator).div_(denominator.add_(twice))


def shrink_generally(x: torch.Tensor, sizes: StepSizes, strengths: torch.Tensor, target: WeightTarget) -> None:
    """The proximal steps of any regularizer, in place, for weights x (models, ...); strengths multiply step sizes."""
    steps = torch.as_tensor(sizes.tensor()).to(x.dtype).expand_as(x) * strengths
    x.copy_(vmap(functools.partial(_shrunk, target))(x, steps))


def _shrunk(target: WeightTarget, weight: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    layout = target.in_regularizer_layout
    return target.in_torch_layout(target.regularizer.prox(layout(weight), layout(sizes)))
