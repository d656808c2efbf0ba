"""What one call of a model records: the penalties of its layers' outputs, kept until the next outermost call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from penalize.errors import TargetError
from penalize.placement.records import Record, Recorded
from penalize.placement.threads import PerThread
from penalize.placement.torchs import backward_under_way, in_forward_of_function, is_replica
from penalize.regularizers.penalty import activity_penalty, refuse_nan

if TYPE_CHECKING:
    from penalize.placement.targets import Declaration

__all__ = ["enter_call", "exit_call", "next_position", "output_tensors", "record_activity", "record_value"]


class _Call:
    """The outermost module whose call is under way, and how many positions were given out since it began.

    `backward` is the backward pass inside which it is called, `before` the call that is under way outside of that, and
    `aside` what the records held until then.
    """

    def __init__(self, backward: int = -1, before: _Call | None = None) -> None:
        self.outermost: nn.Module | None = None
        self.positions = 0
        self.replica = False
        self.training = False
        self.backward = backward
        self.before = before
        self.aside: list[tuple[Record, Recorded]] = []


class _Thread:
    def __init__(self) -> None:
        self.call = _Call()


_threads = PerThread(_Thread)


def enter_call(module: nn.Module, records: Iterable[Record]) -> int:
    """Begin a call, and give its position. When it is the outermost one, `records`, those of the module and all below
    it, are cleared.

    A call inside a backward pass, where checkpointing computes once more what it did not keep, computes all penalties
    as the one before it did, but leaves no trace: at its end, the records are as they were.

    Under `torch.export` nothing is cleared or recorded, so that the exported graph holds no trace of penalties, and the
    position is 0.
    """
    if torch.compiler.is_exporting():
        return 0
    thread = _threads.own
    if not torch.compiler.is_compiling():
        backward = backward_under_way()
        if backward != thread.call.backward:
            records = list(records)
            thread.call = _Call(backward, thread.call)
            thread.call.aside = [(record, record.state()) for record in records]
    call = thread.call
    # A call that ended without `exit_call` (an error in a compiled graph) leaves its module here; calling the same
    # module again begins anew.
    if call.outermost is None or call.outermost is module:
        call.outermost = module
        call.positions = 0
        call.replica = is_replica(module)
        call.training = module.training
        for record in records:
            record.clear()
    return next_position()


def exit_call(module: nn.Module) -> None:
    """End a call that `enter_call` began."""
    if torch.compiler.is_exporting():
        return
    thread = _threads.own
    call = thread.call
    if call.outermost is module:
        call.outermost = None
        if not torch.compiler.is_compiling() and call.before is not None:
            for record, state in call.aside:
                record.restore(state)
            thread.call = call.before


def next_position() -> int:
    """The next position in the outermost call that is under way; 0 under `torch.export`."""
    if torch.compiler.is_exporting():
        return 0
    call = _threads.own.call
    call.positions += 1
    return call.positions


def record_value(record: Record, value: torch.Tensor, position: int, target: str) -> None:
    """Append a scalar to a record, at a position in the outermost call."""
    if torch.compiler.is_exporting():
        return
    call = _threads.own.call
    if torch.compiler.is_compiling():
        # Who called the graph is not known in it: a model that trains should not be without gradients.
        if not torch.is_grad_enabled() and call.training:
            record.without_gradient = True
    else:
        if call.replica:
            raise TargetError(
                f"{target}: the activity of torch.nn.DataParallel's replicas cannot be penalized, as nothing that they "
                "record comes back to the model; use torch.nn.parallel.DistributedDataParallel instead"
            )
        if in_forward_of_function():
            record.without_gradient = True
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
        record_value(record, value, position, target)


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
