"""A constraint applied to a weight, its result checked: the one place where weights are projected."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from penalize.errors import ArrayError, ShapeError

__all__ = ["project"]


def project(constraint: Any, weight: torch.Tensor, where: str) -> torch.Tensor:
    """constraint(weight) for a weight in Keras's layout: a real tensor of its shape, or an array as a tensor.

    `where` names the layer and the argument in errors: ShapeError for a result of another shape, which would otherwise
    broadcast or fail far from its cause, ArrayError for one that is no real tensor or array; errors of the constraint
    itself name them too.

    >>> project(lambda w: w[:1], torch.ones(3, 2), "dense: kernel_constraint")
    Traceback (most recent call last):
    ...
    penalize.errors.ShapeError: dense: kernel_constraint must return a tensor of the weight's shape (3, 2), got (1, 2)
    """
    weight = weight.detach()
    try:
        result = constraint(weight)
    except (ArrayError, ShapeError) as error:
        raise type(error)(f"{where}: {error}") from error
    except Exception as error:
        error.add_note(f"raised by {where}")
        raise
    wanted = f"{where} must return a tensor of the weight's shape {tuple(weight.shape)}"
    if isinstance(result, np.ndarray) and result.dtype.kind in "fiub":
        result = torch.from_numpy(np.require(result, requirements=["C", "W"]))
    if not isinstance(result, torch.Tensor):
        raise ArrayError(f"{wanted}, got {type(result).__name__}: {result!r:.80}")
    if result.is_complex():
        raise ArrayError(f"{wanted}, got a tensor of {result.dtype}")
    if result.shape != weight.shape:
        raise ShapeError(f"{wanted}, got {tuple(result.shape)}")
    return result
