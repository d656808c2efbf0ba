"""Making the model that all models of a path begin as: from a module, a function, or the name of one in a file."""

from __future__ import annotations

import copy
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import penalize
from penalize.errors import ArgumentError, nearest

__all__ = ["load_factory", "make_model"]


def load_factory(name: str) -> nn.Module | Callable[..., Any]:
    """What `package.module:factory` names: a function or class that makes a module, or a module.

    Modules of the current directory are found before others. Raises ArgumentError.
    """
    module_name, colon, attribute = name.partition(":")
    if not (colon and module_name and attribute):
        raise ArgumentError(f"model must be package.module:factory, got {name!r}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise ArgumentError(f"model: {module_name!r} cannot be imported: {type(error).__name__}: {error}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            known = [known for known in dir(found) if not known.startswith("_") and callable(getattr(found, known))]
            raise ArgumentError(f"model: {module_name!r} has no {attribute!r}: {nearest(part, known)}")
        found = getattr(found, part)
    if not callable(found):
        raise ArgumentError(f"model must name a function that makes an nn.Module, got {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def make_model(model: Any, features: int | tuple[int, ...], outputs: int, seed: int) -> nn.Module:
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
    for penalties in penalize.attached(base):
        penalties.detach()
    if not any(parameter.requires_grad for parameter in base.parameters()):
        raise ArgumentError("model has no parameter to train")
    return base.cpu()


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
