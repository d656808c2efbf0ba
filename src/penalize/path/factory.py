"""The function that makes a model, by its name: `package.module:factory`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from penalize.errors import ArgumentError, nearest

__all__ = ["load_factory"]


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
