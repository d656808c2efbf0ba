"""What a module declares of itself: the agreement between layers, which declare, and all who look for declarations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from penalize.placement.calls import next_position, record_activity
from penalize.placement.records import Record
from penalize.placement.targets import ActivityTarget, Declaration, WeightDeclaration

__all__ = ["Declarations", "RecordActivity", "declarations_of", "records_below"]

ATTRIBUTE = "_penalize_declarations"


class Declarations:
    """The weights of one module in creation order, by Keras's names, its activity, and the records of its calls.

    `record` holds the penalties of its output, `added` what it added by itself (`add_loss`). `placed` are the targets
    that `attach` put on its output: the module pays for them as for its own activity.

    A module that declares keeps one under the attribute `_penalize_declarations`. `built` is False while the weights
    that it declares do not exist yet. `collected` is for a layer around it that calls it once a timestep and pays for
    all steps once; it and `position` are each thread's own.
    """

    def __init__(self) -> None:
        self.built = True
        self.weights: dict[str, WeightDeclaration] = {}
        self.activity = Declaration()
        self.record = Record()
        self.placed: list[ActivityTarget] = []
        self.added = Record()

    @property
    def position(self) -> int:
        """The position of the module's last call in the outermost one."""
        return self.record.threads.own.position

    @position.setter
    def position(self, position: int) -> None:
        self.record.threads.own.position = position

    @property
    def collected(self) -> list[Any] | None:
        """While this is a list, outputs are put there instead of being penalized."""
        return self.record.threads.own.collected

    @collected.setter
    def collected(self, collected: list[Any] | None) -> None:
        self.record.threads.own.collected = collected

    def paying(self) -> list[tuple[Declaration, Record]]:
        """Each regularizer of the module's output with the record of its penalties; none under `torch.export`."""
        if torch.compiler.is_exporting():
            return []
        own = [(self.activity, self.record), *((target.declaration, target.record) for target in self.placed)]
        return [(declaration, record) for declaration, record in own if declaration.regularizer is not None]

    def records(self) -> list[Record]:
        """The records of the module's output."""
        return [self.record, *(target.record for target in self.placed)]


def declarations_of(module: nn.Module) -> Declarations | None:
    """What a module declares, or None for modules that do not."""
    return module.__dict__.get(ATTRIBUTE)


def records_below(module: nn.Module) -> Iterator[Record]:
    """The records of a module and of all modules in it, once each: what they declare, and what was attached to them."""
    for part in module.modules():
        declared = declarations_of(part)
        if declared is not None:
            yield from declared.records()
            yield declared.added
        for hook in part._forward_hooks.values():
            if isinstance(hook, RecordActivity):
                yield hook.target.record


class RecordActivity:
    """Forward hook: records the penalty of a module's output."""

    def __init__(self, target: ActivityTarget) -> None:
        self.target = target

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        target = self.target
        if target.regularizer is not None:
            record_activity(target.record, target.declaration, output, target.name or "the model", next_position())
