"""The module that a person gives, or a function that makes one, as a path takes it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from penalize.binding import attached
from penalize.errors import ArgumentError

__all__ = ["made_model"]


def made_model(model: Any, seed: int) -> nn.Module:
    """A copy of the model, or a new one of the function, on the CPU and with no penalties from before."""
    if isinstance(model, nn.Module):
        base = copy.deepcopy(model)
    elif callable(model):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            base = model()
        if not isinstance(base, nn.Module):
            raise ArgumentError(f"model must make an nn.Module, got {type(base).__name__}")
    else:
        raise ArgumentError(f"model must be an nn.Module or a function that makes one, got {type(model).__name__}")
    for penalties in attached(base):
        penalties.detach()
    if not any(parameter.requires_grad for parameter in base.parameters()):
        raise ArgumentError("model has no parameter to train")
    return base.cpu()
