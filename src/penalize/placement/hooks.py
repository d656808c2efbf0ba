"""Recording the activity of modules that are none of ours, by forward hooks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from penalize.placement.calls import Record, enter_call, exit_call, next_position, record_activity
from penalize.placement.declared import declarations_of, records_below
from penalize.placement.targets import ActivityTarget

__all__ = ["install_hooks"]


class _EnterCall:
    """Forward pre-hook: begins a call of a module that holds activity targets."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records

    def __call__(self, module: nn.Module, args: Any) -> None:
        enter_call(module, self.records)


class _ExitCall:
    """Forward hook: ends the call; also after an error."""

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        exit_call(module)


class _RecordActivity:
    """Forward hook: records the penalty of a module's output."""

    def __init__(self, target: ActivityTarget) -> None:
        self.target = target

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        if self.target.regularizer is not None:
            record_activity(
                self.target.record, self.target.declaration, output, self.target.name or "the model", next_position()
            )


def install_hooks(model: nn.Module, targets: Iterable[ActivityTarget]) -> list[RemovableHandle]:
    """Hook every target, and every module around one, so that the outermost call that reaches a target clears it.

    Targets whose modules declare (our layers) record by themselves, and such modules begin and end calls by themselves.
    """
    targets = list(targets)
    hooked = [target for target in targets if not _records_itself(target)]
    holders = {id(target.module) for target in targets}
    handles = []
    callers = []
    for module in model.modules():
        parts = {id(part) for part in module.modules()}
        records = [target.record for target in hooked if id(target.module) in parts]
        begins_calls_itself = declarations_of(module) is not None
        if records or (parts & holders and not begins_calls_itself):
            callers.append(module)
            begin = _EnterCall([*records, *records_below(module)])
            handles.append(module.register_forward_pre_hook(begin, prepend=True))
    for target in hooked:
        handles.append(target.module.register_forward_hook(_RecordActivity(target)))
    # The end of a call comes after its module's own activity is recorded: hooks run in the order of registration.
    for module in callers:
        handles.append(module.register_forward_hook(_ExitCall(), always_call=True))
    return handles


def _records_itself(target: ActivityTarget) -> bool:
    declared = declarations_of(target.module)
    return declared is not None and declared.record is target.record
