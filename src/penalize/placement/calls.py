"""What one call of a model records: the penalties of its layers' outputs, kept until the next outermost call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from penalize.errors import TargetError
from penalize.regularizers.penalty import activity_penalty, refuse_nan

if TYPE_CHECKING:
    from penalize.placement.targets import Declaration

__all__ = ["Record", "enter_call", "exit_call", "next_position", "output_tensors", "record_activity", "record_value"]


class Record:
    """The penalties that one target gave in the last outermost call: pairs of a position in that call and a scalar.

    Positions are those of `enter_call`: calls are counted as they begin, so that a layer stands before those inside.

    Copies and pickles are empty: penalties belong to the call that made them.
    """

    def __init__(self) -> None:
        self.entries: list[tuple[int, torch.Tensor]] = []

    def clear(self) -> None:
        """Forget what was recorded."""
        # A new list: `torch.compile` need not look into the old one, nor guard the tensors in it.
        self.entries = []

    def __reduce__(self) -> tuple[type[Record], tuple[()]]:
        return Record, ()


class _CurrentCall:
    """The outermost module whose call is under way, and how many positions were given out since it began."""

    def __init__(self) -> None:
        self.outermost: nn.Module | None = None
        self.positions = 0


_current = _CurrentCall()


def enter_call(module: nn.Module, records: Iterable[Record]) -> int:
    """Begin a call, and give its position. When it is the outermost one, `records`, those of the module and all below
    it, are cleared.

    Under `torch.export` nothing is cleared or recorded, so that the exported graph holds no trace of penalties, and the
    position is 0.
    """
    if torch.compiler.is_exporting():
        return 0
    # A call that ended without `exit_call` (an error in a compiled graph) leaves its module here; calling the same
    # module again begins anew.
    if _current.outermost is None or _current.outermost is module:
        _current.outermost = module
        _current.positions = 0
        for record in records:
            record.clear()
    return next_position()


def exit_call(module: nn.Module) -> None:
    """End a call that `enter_call` began."""
    if not torch.compiler.is_exporting() and _current.outermost is module:
        _current.outermost = None


def next_position() -> int:
    """The next position in the outermost call that is under way; 0 under `torch.export`."""
    if torch.compiler.is_exporting():
        return 0
    _current.positions += 1
    return _current.positions


def record_value(record: Record, value: torch.Tensor, position: int) -> None:
    """Append a scalar to a record, at a position in the outermost call."""
    if not torch.compiler.is_exporting():
        record.entries.append((position, value))


def record_activity(record: Record, declaration: Declaration, output: Any, target: str, position: int) -> None:
    """Record the penalty of every tensor of an output, one entry each, at a position in the outermost call."""
    if torch.compiler.is_exporting():
        return
    tensors = output_tensors(output)
    if not tensors:
        raise TargetError(f"{target}: an activity regularizer needs a tensor as output, got {type(output).__name__}")
    for tensor in tensors:
        value = activity_penalty(declaration.regularizer, tensor, target)
        # First whether a graph is being made: it must not depend on what was checked.
        if not torch.compiler.is_compiling() and not declaration.checked and not value.is_meta:
            _check_once(declaration, value, tensor, target)
        record_value(record, value, position)


def _check_once(declaration: Declaration, value: torch.Tensor, tensor: torch.Tensor, target: str) -> None:
    try:
        refuse_nan(declaration.regularizer, value, tensor, target)
    except RuntimeError:
        return  # inside `torch.func.vmap`, where a tensor is not one value: the next plain call looks at it
    declaration.checked = True


def output_tensors(output: Any) -> list[torch.Tensor]:
    """The tensors in an output that may be nested in lists, tuples and dicts: in order, a dict's keys sorted."""
    if isinstance(output, torch.Tensor):
        return [output]
    if isinstance(output, dict):
        sortable = type(output) is dict and len({type(key) for key in output}) == 1
        keys = sorted(output) if sortable else list(output)
        return [tensor for key in keys for tensor in output_tensors(output[key])]
    if isinstance(output, list | tuple):
        return [tensor for item in output for tensor in output_tensors(item)]
    return []
