"""Where torch is calling a module from: a backward pass, the forward of an autograd function, a replica's thread.

torch has no public ways to ask; what is used here is held by tests/reach.
"""

from __future__ import annotations

import sys

import torch
from torch import nn
from torch.autograd.function import FunctionCtx

__all__ = ["backward_under_way", "in_forward_of_function", "is_replica"]


def backward_under_way() -> int:
    """The number of the backward pass inside which this thread is; -1 for none."""
    return torch._C._current_graph_task_id()


def in_forward_of_function() -> bool:
    """Whether this is inside the forward of a `torch.autograd.Function`.

    What is computed there has no graph. `checkpoint(use_reentrant=True)` calls its function in such a forward, and so
    do the checkpointing functions of other libraries.
    """
    if torch.is_grad_enabled():
        return False
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        code = frame.f_code
        named = code.co_name == "forward" and code.co_argcount
        if named and isinstance(frame.f_locals.get(code.co_varnames[0]), FunctionCtx):
            return True
    return False


def is_replica(module: nn.Module) -> bool:
    """Whether `torch.nn.DataParallel` made this copy of a module for one of its threads."""
    return bool(module.__dict__.get("_is_replica", False))
