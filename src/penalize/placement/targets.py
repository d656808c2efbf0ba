"""Targets: a parameter or an output, and the regularizer that is placed on it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from penalize.errors import ArgumentError, naming
from penalize.placement.computed import computed_weights, present_weight
from penalize.placement.records import Record
from penalize.placement.sharded import refuse_flattened, sharded_parameter
from penalize.regularizers import get
from penalize.regularizers.base import needs_start
from penalize.regularizers.distributed import adds_up, is_distributed, whole
from penalize.regularizers.penalty import check_penalty
from penalize.regularizers.strength import strength_attributes

__all__ = ["ActivityTarget", "Declaration", "Layout", "Target", "WeightDeclaration", "WeightTarget"]


@dataclass(frozen=True)
class Layout:
    """The order of axes in which Keras holds a weight, as a permutation of the axes of torch's.

    `axes` is what `torch.permute` takes to go from torch's layout to Keras's; `None` where both are the same.
    """

    axes: tuple[int, ...] | None = None

    def to_keras(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor of torch's layout in Keras's: a view, where only axes change places."""
        return tensor if self.axes is None else tensor.permute(self.axes)

    def to_torch(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor of Keras's layout in torch's."""
        if self.axes is None:
            return tensor
        return tensor.permute([self.axes.index(axis) for axis in range(len(self.axes))])


SAME_LAYOUT = Layout()


class Declaration:
    """The regularizer placed on something; anything that `regularizers.get` takes can be assigned to it."""

    def __init__(self, regularizer: Any = None) -> None:
        self.regularizer = regularizer
        self.checked = False  # whether what it gives for an output was looked at

    def __setattr__(self, name: str, value: Any) -> None:
        # No property: each step reads the regularizer of each target.
        if name == "regularizer":
            value, self.checked = get(value), False
        super().__setattr__(name, value)


class WeightDeclaration(Declaration):
    """A weight that a module declares: its attribute, its layout and its regularizer."""

    def __init__(self, attribute: str, regularizer: Any = None, layout: Layout = SAME_LAYOUT) -> None:
        super().__init__(regularizer)
        self.attribute = attribute
        self.layout = layout


class Target:
    """What `penalties["name"]` gives: read and change the regularizer and its strength, also between steps."""

    def __init__(self, name: str, module: nn.Module, declaration: Declaration) -> None:
        self.name = name
        self.module = module
        self.declaration = declaration

    @property
    def regularizer(self) -> Any:
        """The regularizer; `None` penalizes nothing."""
        return self.declaration.regularizer

    @regularizer.setter
    def regularizer(self, identifier: Any) -> None:
        with naming(self.name):
            regularizer = self.placed(get(identifier))
        self.check(regularizer)
        self.declaration.regularizer = regularizer

    def placed(self, regularizer: Any) -> Any:
        """The regularizer to pay here: one that depends on the weight that it starts from is told it."""
        return regularizer

    def check(self, regularizer: Any) -> None:
        """Refuse a regularizer that cannot be placed here; an output is only known when the module is called."""

    @property
    def strength(self) -> Any:
        """The regularizer's only strength. Setting it changes this target alone, not others of the same regularizer."""
        return getattr(self.regularizer, self._strength_name())

    @strength.setter
    def strength(self, value: Any) -> None:
        changed = copy.copy(self.regularizer)
        setattr(changed, self._strength_name(), value)
        self.regularizer = changed

    def _strength_name(self) -> str:
        names = strength_attributes(type(self.regularizer))
        if len(names) != 1:
            has = f"the strengths {' and '.join(names)}" if names else "no strength that is known by name"
            raise ArgumentError(f"{self.name}: {self.regularizer!r} has {has}; assign to .regularizer instead")
        return names[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.regularizer!r})"


class WeightTarget(Target):
    """A parameter of a module."""

    declaration: WeightDeclaration

    def tensor(self) -> torch.Tensor:
        """The tensor that the module holds now, in torch's layout; looked up anew, so that swapped ones are seen."""
        attribute = self.declaration.attribute
        # Past `__getattr__`, through which a layer of mixed precision sees its weights cast while it computes.
        held = self.module._parameters.get(attribute)
        tensor = present_weight(self.module, attribute, self.name) if held is None else held
        refuse_flattened(tensor, self.name)
        return sharded_parameter(self.module, attribute, tensor)

    def placed(self, regularizer: Any) -> Any:
        if not needs_start(regularizer) or self.tensor().is_meta:
            return regularizer
        with torch.no_grad():
            return regularizer.placed_on(self.as_taken_by(regularizer, self.tensor()))

    def check(self, regularizer: Any) -> None:
        check_penalty(regularizer, self.as_taken_by(regularizer, self.tensor()), self.name)

    def as_taken_by(self, regularizer: Any, tensor: torch.Tensor) -> torch.Tensor:
        """The parameter as a regularizer takes it: in its layout, and whole, where the penalty of parts is not enough.

        Elements add up in any order, so a DTensor's axes, which may not be told from its parts, are left as they are.
        """
        if is_distributed(tensor):
            return tensor if adds_up(regularizer) else self.in_regularizer_layout(whole(tensor))
        return self.in_regularizer_layout(tensor)

    def in_regularizer_layout(self, tensor: torch.Tensor) -> torch.Tensor:
        """A plain tensor of the parameter's layout in the regularizer's: Keras's layout in our layers."""
        return self.declaration.layout.to_keras(tensor)

    def in_torch_layout(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor of the regularizer's layout, such as a gradient, in that of the parameter."""
        return self.declaration.layout.to_torch(tensor)

    @property
    def frozen(self) -> bool:
        """Whether the parameter, or all that it is computed from, takes no gradient: its penalty counts nothing then.

        Tensors swapped in by `torch.func.functional_call` are no parameters and always count.
        """
        made_of = computed_weights(self.module).get(self.declaration.attribute)
        if made_of:
            return not any(parameter.requires_grad for parameter in made_of)
        tensor = self.tensor()
        return isinstance(tensor, nn.Parameter) and not tensor.requires_grad


class ActivityTarget(Target):
    """The output of a module, the record of its penalties, and that of what the module added by itself, if it can."""

    def __init__(
        self, name: str, module: nn.Module, declaration: Declaration, record: Record, added: Record | None = None
    ) -> None:
        super().__init__(name, module, declaration)
        self.record = record
        self.added = added

    @property
    def entries(self) -> list[tuple[int, torch.Tensor]]:
        """All that is recorded: pairs of a position in the call and a scalar."""
        return [*(self.added.entries if self.added is not None else ()), *self.record.entries]

    @property
    def without_gradient(self) -> bool:
        """Whether what is recorded was computed where no gradient comes by."""
        return self.record.without_gradient or (self.added is not None and self.added.without_gradient)
