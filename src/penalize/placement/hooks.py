"""Recording the activity that `attach` penalizes: by forward hooks, and by our layers themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import nn

from penalize.placement.calls import enter_call, exit_call
from penalize.placement.declared import Declarations, RecordActivity, declarations_of, records_below
from penalize.placement.records import Record
from penalize.placement.targets import ActivityTarget

__all__ = ["Handle", "install_hooks", "records_penalties", "remove_all_hooks"]


class Handle(Protocol):
    """What was put on a module, and can be taken off again."""

    def remove(self) -> None: ...


class _Placed:
    """A target that a module which declares pays for by itself."""

    def __init__(self, declared: Declarations, target: ActivityTarget) -> None:
        self.declared = declared
        self.target = target
        declared.placed.append(target)

    def remove(self) -> None:
        self.declared.placed.remove(self.target)


class _Installations:
    """How often something was attached, to whatever: then what a call clears has to be looked up again."""

    def __init__(self) -> None:
        self.count = 0


_installations = _Installations()


class _EnterCall:
    """Forward pre-hook: begins a call of a module that holds activity targets, of whichever `attach`."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.looked_up = -1

    def __call__(self, module: nn.Module, args: Any) -> None:
        if torch.compiler.is_compiling():
            # A graph is made once, and would be made anew for what is looked up later.
            enter_call(module, records_below(module))
            return
        if self.looked_up != _installations.count:
            self.records = list(records_below(module))
            self.looked_up = _installations.count
        enter_call(module, self.records)


class _ExitCall:
    """Forward hook: ends the call; also after an error."""

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        exit_call(module)


def install_hooks(model: nn.Module, targets: Iterable[ActivityTarget]) -> list[Handle]:
    """Hook every target, and every module around one, so that the outermost call that reaches a target clears it.

    Modules that declare (our layers) begin and end calls by themselves, and pay for targets placed on them.
    """
    targets = list(targets)
    hooked = []
    holders = {id(target.module) for target in targets}
    handles: list[Handle] = []
    callers = []
    for target in targets:
        declared = declarations_of(target.module)
        if declared is None:
            hooked.append(target)
        elif declared.record is not target.record:
            handles.append(_Placed(declared, target))
    for module in model.modules():
        parts = {id(part) for part in module.modules()}
        begins_calls_itself = declarations_of(module) is not None
        if any(id(target.module) in parts for target in hooked) or (parts & holders and not begins_calls_itself):
            callers.append(module)
            handles.append(module.register_forward_pre_hook(_EnterCall(), prepend=True))
    for target in hooked:
        hook = RecordActivity(target)
        handles.append(target.module.register_forward_hook(hook, prepend=_hands_on_parts(target.module)))
    # The end of a call comes after its module's own activity is recorded: hooks run in the order of registration.
    for module in callers:
        handles.append(module.register_forward_hook(_ExitCall(), always_call=True))
    _installations.count += 1
    return handles


def records_penalties(hook: Any) -> bool:
    """Whether a hook is one of those that `install_hooks` puts on modules; they change no outputs."""
    return isinstance(hook, _EnterCall | _ExitCall | RecordActivity)


def remove_all_hooks(model: nn.Module) -> None:
    """Take off what `install_hooks` put on a model and on all in it, whoever holds the handles.

    For a copy of a part of a model: the copied hooks belong to penalties of the whole, of which there is no copy.
    """
    for module in model.modules():
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            for number in [number for number, hook in hooks.items() if records_penalties(hook)]:
                del hooks[number]
                module._forward_hooks_always_called.pop(number, None)
        declared = declarations_of(module)
        if declared is not None:
            declared.placed.clear()


def _hands_on_parts(module: nn.Module) -> bool:
    """Whether tensor parallelism hooked a module to make a plain part of its output: penalties are of the whole one."""
    hooks = module._forward_hooks.values()
    return any(str(getattr(hook, "__module__", "")).startswith("torch.distributed.tensor") for hook in hooks)
