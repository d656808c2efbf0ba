"""Penalties of DTensors, of which each process holds a part: one penalty of the whole tensor, the same on all of them.

A regularizer that is declared elementwise is given each process's part alone, and the parts' penalties are added up by
one all-reduce. Any other is given the whole tensor, which all processes gather. Both ways backward hands each process
its part of the gradient of that one penalty, without being multiplied or divided by the number of processes.

All of these are collective: every process of the tensor's mesh must call them, in the same order.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from penalize.regularizers.base import Regularizer, is_elementwise

__all__ = ["adds_up", "by_parts", "is_distributed", "own_part", "total_over_parts", "whole"]


def is_distributed(x: Any) -> bool:
    """Whether a tensor is a DTensor."""
    if type(x) is torch.Tensor or type(x) is nn.Parameter:
        return False
    # Importing it takes half a second; nobody has a DTensor who has not done so.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(x, module.DTensor)


def adds_up(regularizer: Any) -> bool:
    """Whether the penalty of a tensor is the sum of the penalties of its parts, also for autograd."""
    if not (isinstance(regularizer, Regularizer) and is_elementwise(regularizer)):
        return False
    # A strength that is trained itself needs the penalty of the whole tensor as its gradient, on every process.
    return not any(isinstance(value, torch.Tensor) and value.requires_grad for value in vars(regularizer).values())


def own_part(x: Any) -> torch.Tensor:
    """The elements of a DTensor that this process holds; its gradient is theirs."""
    part: torch.Tensor = _without_pending_sums(x).to_local()
    return part


def whole(x: Any) -> torch.Tensor:
    """All of a DTensor as a plain tensor, whose gradient, equal on all processes, is cut up like the DTensor."""
    tensor: torch.Tensor = _on_its_mesh(x).full_tensor()
    return tensor


def total_over_parts(values: Sequence[tuple[torch.Tensor, Any]]) -> list[torch.Tensor]:
    """The sums over processes of scalars that belong to parts of DTensors: one all-reduce for all of one mesh.

    Takes pairs of a scalar, computed from `own_part(x)`, and x. Each scalar is handed the gradient of its sum as it is:
    all processes hold the same sum, and pay it once.
    """
    from torch.distributed.tensor import DTensor, Partial, Replicate

    totals = [value for value, _ in values]
    groups: dict[Any, list[int]] = {}
    for index, (_, x) in enumerate(values):
        # Processes that hold the same elements, as they do once pending sums are taken, hold the same penalty, too.
        cut = tuple(not (placement.is_replicate() or placement.is_partial()) for placement in x.placements)
        if any(cut):
            groups.setdefault((x.device_mesh, cut), []).append(index)
    for (mesh, cut), indices in groups.items():
        # In float64, so that every process sends the same dtype, whatever a regularizer made of an empty part.
        own = torch.stack([totals[index].double() for index in indices])
        parts = [Partial() if is_cut else Replicate() for is_cut in cut]
        summed = DTensor.from_local(own, mesh, parts, run_check=False).full_tensor()
        for index, value in zip(indices, summed.unbind(), strict=True):
            totals[index] = value.to(device=totals[index].device, dtype=totals[index].dtype)
    return totals


def by_parts(function: Callable[[torch.Tensor], torch.Tensor], x: Any, each: bool) -> torch.Tensor:
    """`function(x)`, a tensor of x's shape, placed like the DTensor x, without a graph.

    With `each`, the function is given each process's part; otherwise the whole, of whose result each keeps its part.
    """
    from torch.distributed.tensor import DTensor, Replicate

    x = _without_pending_sums(x.detach())
    made: Any = torch.zeros_like(x)
    if each:
        part = x.to_local()
        found = function(part) if part.numel() else None
    else:
        everywhere = [Replicate()] * x.device_mesh.ndim
        together = DTensor.from_local(function(whole(x)).contiguous(), x.device_mesh, everywhere, run_check=False)
        found = together.redistribute(placements=x.placements).to_local()
    if found is not None:
        # Into a tensor like x, whose parts may lie on another device than the mesh's.
        with torch.no_grad():
            made.to_local().copy_(found)
    result: torch.Tensor = made
    return result


def _on_its_mesh(x: Any) -> Any:
    """A DTensor whose parts are on the device that its processes communicate with; offloaded ones are not."""
    part = x.to_local()
    if part.device.type == x.device_mesh.device_type:
        return x
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(part, x.device_mesh, x.placements, run_check=False, shape=x.shape, stride=x.stride())


def _without_pending_sums(x: Any) -> Any:
    """A DTensor whose sum over processes may be still to take, as that of a matrix product is, with it taken."""
    if not any(placement.is_partial() for placement in x.placements):
        return x
    from torch.distributed.tensor import Replicate

    return x.redistribute(placements=[Replicate() if each.is_partial() else each for each in x.placements])
