"""Gradient clipping as Keras does it: new tensors, the gradients themselves stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

__all__ = ["CLIPPING", "clip"]

CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")


def clip(
    group: dict[str, Any], gradients: Sequence[torch.Tensor], global_norm: torch.Tensor | None
) -> list[torch.Tensor]:
    """The gradients of one parameter group, clipped by the one rule that the group sets, if any.

    - `clipnorm`: each gradient g becomes `g * clipnorm / max(norm(g), clipnorm)`;
    - `clipvalue`: each element is moved into [-clipvalue, clipvalue];
    - `global_clipnorm`: as `clipnorm`, with the norm over the gradients of all groups, `global_norm`.

    Source: Keras 3.15.1, the optimizers' arguments of these names.

    >>> clip({"clipnorm": 1.0}, [torch.tensor([3.0, 4.0])], None)
    [tensor([0.6000, 0.8000])]
    """
    if group.get("clipnorm") is not None:
        return [_limit(gradient, torch.linalg.vector_norm(gradient), group["clipnorm"]) for gradient in gradients]
    if group.get("clipvalue") is not None:
        return [gradient.clamp(-group["clipvalue"], group["clipvalue"]) for gradient in gradients]
    if group.get("global_clipnorm") is not None and global_norm is not None:
        return [_limit(gradient, global_norm, group["global_clipnorm"]) for gradient in gradients]
    return list(gradients)


def _limit(gradient: torch.Tensor, norm: torch.Tensor, largest: float) -> torch.Tensor:
    return gradient * (largest / norm.clamp(min=largest)).to(gradient.device, gradient.dtype)
