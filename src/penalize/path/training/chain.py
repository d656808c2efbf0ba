"""Stacked models that are chains of linear layers: one batched product a layer for all models, without `vmap`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["Chain", "chain_of"]

Weights = Mapping[str, torch.Tensor]

# They act on each element alone, so that it does not matter how elements are arranged.
ELEMENTWISE = (
    *(nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Sigmoid, nn.LogSigmoid, nn.Hardsigmoid, nn.Tanh, nn.Tanhshrink, nn.Hardtanh, nn.Hardswish),
    *(nn.Softplus, nn.Softsign, nn.Softshrink, nn.Hardshrink),
)
Link = Callable[[Weights, torch.Tensor, bool], torch.Tensor]


class Chain:
    """Outputs (models, rows, features) of stacked models for x (models, rows, ...)."""

    def __init__(self, links: Sequence[Link]) -> None:
        self.links = links

    def __call__(self, weights: Weights, x: torch.Tensor, training: bool) -> torch.Tensor:
        # (models, features, rows): then the gradient of a weight comes out of its product in the weight's own layout.
        hidden = x.flatten(2).transpose(1, 2)
        for link in self.links:
            hidden = link(weights, hidden, training)
        return hidden.transpose(1, 2)


def chain_of(model: nn.Module, features: Sequence[int]) -> Chain | None:
    """The chain that a model is, for inputs (rows, *features); None where it is, or may be, something else."""
    flat = _flattened(model)
    if flat is None or any(_is_watched(module) for module in model.modules()):
        return None
    flattens = bool(flat) and type(flat[0]) is nn.Flatten and (flat[0].start_dim, flat[0].end_dim) == (1, -1)
    if len(features) != 1 and not flattens:
        return None
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    links = [_link(module, names) for module in (flat[1:] if flattens else flat)]
    known = [link for link in links if link is not None]
    return Chain(known) if len(known) == len(links) else None


def _flattened(module: nn.Module) -> list[nn.Module] | None:
    if type(module) is not nn.Sequential:
        return [module]
    parts = [_flattened(child) for child in module]
    return [each for part in parts if part is not None for each in part]


def _is_watched(module: nn.Module) -> bool:
    """Whether something besides its class says what a module does, so that it must be called itself."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks) or "forward" in module.__dict__


def _link(module: nn.Module, names: Mapping[int, str]) -> Link | None:
    if type(module) is nn.Linear:
        return _linear(names[id(module.weight)], None if module.bias is None else names[id(module.bias)])
    if type(module) in ELEMENTWISE:
        return lambda weights, hidden, training: module(hidden)
    if type(module) is nn.Dropout:
        return _dropout(module.p)
    return None


def _linear(weight: str, bias: str | None) -> Link:
    def product(weights: Weights, hidden: torch.Tensor, training: bool) -> torch.Tensor:
        if bias is None:
            return torch.bmm(weights[weight], hidden)
        return torch.baddbmm(weights[bias][:, :, None], weights[weight], hidden)

    return product


def _dropout(p: float) -> Link:
    def drop(weights: Weights, hidden: torch.Tensor, training: bool) -> torch.Tensor:
        if not training or p == 0:
            return hidden
        # What a model alone would draw for (rows, features), and the same for all.
        mask = F.dropout(hidden.new_ones(hidden.shape[2], hidden.shape[1]), p)
        return hidden * mask.t()

    return drop
