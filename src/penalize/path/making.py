"""The module that a person gives, or a function that makes one, as a path takes it, and its penalties."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from penalize.binding import Penalties, attach, attached
from penalize.errors import ArgumentError
from penalize.path.training.penalized import proximal_targets
from penalize.placement import Rules, WeightTarget

__all__ = ["attached_penalties", "made_again", "made_model"]


def made_model(model: Any, seed: int, features: int | tuple[int, ...] = 0, outputs: int = 0) -> nn.Module:
    """A copy of the model, or a new one of the function, on the CPU and with no penalties from before.

    A function, called with torch's random numbers seeded, gets (features, outputs) when it requires arguments, and none
    when it requires none. Raises ArgumentError for one that fails or returns something else, or a model with no
    parameter to train.
    """
    if isinstance(model, nn.Module):
        base = copy.deepcopy(model)
    elif callable(model):
        arguments = (features, outputs) if _requires_arguments(model) else ()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                base = model(*arguments)
            except (Exception, SystemExit) as error:
                called = f"called with {', '.join(map(repr, arguments)) or 'no arguments'}"
                raise ArgumentError(f"model: the function failed, {called}: {type(error).__name__}: {error}") from error
        if not isinstance(base, nn.Module):
            raise ArgumentError(f"model must make an nn.Module, got {type(base).__name__}")
    else:
        raise ArgumentError(f"model must be an nn.Module or a function that makes one, got {type(model).__name__}")
    for penalties in attached(base):
        penalties.detach()
    if not any(parameter.requires_grad for parameter in base.parameters()):
        raise ArgumentError("model has no parameter to train")
    return base.cpu()


def made_again(model: Any, settings: Mapping[str, Any]) -> nn.Module:
    """The module for the weights of a path with these settings, which may come from a file."""
    features, classes = settings.get("features"), settings.get("classes")
    shape = [size for size in features if type(size) is int] if isinstance(features, list) else []
    outputs = len(classes) if isinstance(classes, list) else 1
    return made_model(model, 0, shape[0] if len(shape) == 1 else tuple(shape), outputs)


def attached_penalties(base: nn.Module, weights: Rules | None, activity: Rules | None, proximal: Any) -> Penalties:
    """Put the penalties on the model. Raises what `attach` does, and ArgumentError where a path has none to vary."""
    if not isinstance(proximal, bool):
        raise ArgumentError(f"proximal must be True or False, got {proximal!r:.80}")
    penalties = attach(base, weights=weights, activity=activity)
    if all(isinstance(target, WeightTarget) and target.frozen for target in penalties.values()):
        raise ArgumentError("there is no penalty to vary: weights and activity exclude everything, or all is frozen")
    if proximal and not proximal_targets(base, penalties):
        raise ArgumentError("proximal=True needs a penalty of weights that has a proximal step, such as L1")
    return penalties


def _requires_arguments(function: Callable[..., Any]) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return False
    if _takes(signature):
        return False
    if _takes(signature, 1, 1):
        return True
    raise ArgumentError(f"model must be a function of (features, outputs) or of no arguments, got one of {signature}")


def _takes(signature: inspect.Signature, *arguments: Any) -> bool:
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True
