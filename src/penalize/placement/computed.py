"""Weights that a module computes from its parameters: parametrized and pruned ones."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from penalize.errors import TargetError

__all__ = ["computed_weights", "present_weight"]


def computed_weights(module: nn.Module) -> dict[str, list[nn.Parameter]]:
    """By attribute, what each weight is computed from that a module does not hold itself.

    Known are those of `torch.nn.utils.parametrize` (`weight_norm`, `orthogonal`, `spectral_norm` and own ones) and of
    `torch.nn.utils.prune`.
    """
    found = {}
    if is_parametrized(module):
        for attribute, parts in cast(nn.ModuleDict, module.parametrizations).items():
            found[attribute] = list(parts.parameters(recurse=False))
    for name, parameter in module._parameters.items():
        attribute = name.removesuffix("_orig")
        if parameter is not None and attribute != name and f"{attribute}_mask" in module._buffers:
            found[attribute] = [parameter]
    return found


def present_weight(module: nn.Module, attribute: str, target: str) -> torch.Tensor:
    """The weight as it is now, of a module that holds no parameter of this name."""
    original, mask = module._parameters.get(f"{attribute}_orig"), module._buffers.get(f"{attribute}_mask")
    if original is not None and mask is not None:
        # What pruning left under the attribute is that of the last call, before the optimizer's step.
        return mask.to(original.dtype) * original
    if not torch.compiler.is_compiling() and is_parametrized(module, attribute):
        return _without_training(module, attribute)
    found = getattr(module, attribute, None)
    if not isinstance(found, torch.Tensor):
        raise TargetError(f"{target}: the module holds no such weight any more; detach() and attach() again")
    return found


def _without_training(module: nn.Module, attribute: str) -> torch.Tensor:
    """The weight of the last call: in training, `spectral_norm` would make another one each time it is asked."""
    parts = cast(nn.ModuleDict, module.parametrizations)[attribute]
    training = [part for part in parts.modules() if part.training]
    for part in training:
        part.training = False
    try:
        found: torch.Tensor = getattr(module, attribute)
        return found
    finally:
        for part in training:
            part.training = True
