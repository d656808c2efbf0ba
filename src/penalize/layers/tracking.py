"""Walking a tree of layers: its targets for `losses`, and its weights in Keras's order."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from penalize.placement import ActivityTarget, Layout, WeightTarget, computed_weights, declarations_of

__all__ = ["as_container", "declared_targets", "weights_below"]


def declared_targets(module: nn.Module) -> tuple[list[WeightTarget], list[ActivityTarget]]:
    """The weights that are there, penalized or not, and all activity targets.

    Weights come in creation order, depth first; those under a frozen layer are left out.
    """
    weights: list[WeightTarget] = []
    activities: list[ActivityTarget] = []
    seen: set[int] = set()

    def visit(part: nn.Module, trainable: bool) -> None:
        if id(part) in seen:
            return
        seen.add(id(part))
        trainable = trainable and getattr(part, "trainable", True)
        declared = declarations_of(part)
        if declared is not None:
            layer = str(getattr(part, "name", type(part).__name__))
            activities.append(ActivityTarget(layer, part, declared.activity, declared.record, declared.added))
            there = {name for name, held in part._parameters.items() if held is not None} | set(computed_weights(part))
            own = [(name, weight) for name, weight in declared.weights.items() if weight.attribute in there]
            weights.extend(WeightTarget(f"{layer}.{name}", part, weight) for name, weight in own if trainable)
        for child in part.children():
            visit(child, trainable)

    visit(module, True)
    return weights, activities


def weights_below(module: nn.Module) -> list[tuple[Layout, torch.Tensor]]:
    """Every parameter and declared buffer with its layout, once each, depth first; in a layer, in declared order."""
    found: dict[int, tuple[Layout, torch.Tensor]] = {}
    for part in module.modules():
        declared = declarations_of(part)
        layouts = {} if declared is None else {weight.attribute: weight.layout for weight in declared.weights.values()}
        own: dict[str, torch.Tensor] = dict(part.named_parameters(recurse=False))
        own.update((name, buffer) for name, buffer in part.named_buffers(recurse=False) if name in layouts)
        for attribute in [*(name for name in layouts if name in own), *(name for name in own if name not in layouts)]:
            found.setdefault(id(own[attribute]), (layouts.get(attribute, Layout()), own[attribute]))
    return list(found.values())


def as_container(value: Any) -> Any:
    """A list, tuple or dict of modules as torch's container of them, which torch and `losses` can look into."""
    if isinstance(value, list | tuple) and value and all(isinstance(item, nn.Module) for item in value):
        return nn.ModuleList(value)
    if isinstance(value, dict) and value and all(isinstance(item, nn.Module) for item in value.values()):
        return nn.ModuleDict({str(key): item for key, item in value.items()})
    return value
