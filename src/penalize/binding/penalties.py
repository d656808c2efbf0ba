"""`attach` and what it returns: the penalties of one model, to be added to its loss or bound to its optimizer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

import torch
from torch import nn

from penalize.binding.gradients import GradientBinding
from penalize.errors import ArgumentError, BindError, DetachedError, TargetError, nearest
from penalize.evaluation import Report, activity_losses, report, total, weight_losses
from penalize.placement import (
    ActivityTarget,
    Rules,
    Target,
    WeightTarget,
    aliases,
    declarations_of,
    install_hooks,
    select_activities,
    select_weights,
)
from penalize.regularizers import serialize

__all__ = ["Penalties", "attach", "attached"]

ATTACHED = "_penalize_attached"


def attach(model: nn.Module, weights: Rules | None = None, activity: Rules | None = None) -> Penalties:
    """Put penalties on the weights and outputs of any `nn.Module`, without changing its class, `state_dict` or outputs.

    Parameters
    ----------
    model
        The module. penalize layers in it bring the regularizers that they declare.
    weights
        From patterns to regularizers, for parameters. A pattern is a glob on dotted parameter names ("*" also matches
        dots), an `nn.Module` class (all parameters that its instances hold themselves), or a predicate
        `(name, parameter) -> bool`. A regularizer is anything that `regularizers.get` takes; `None` excludes. The last
        match wins, also over what layers declare. A tied weight is one target, whichever of its names matches.
    activity
        The same for outputs: globs on dotted module names (the model itself is ""), classes, or predicates
        `(name, module) -> bool`. The penalty of an output is divided by the size of its axis 0.

    Returns
    -------
    Penalties
        Add `penalties.loss()` to the training loss, or `bind` it to the optimizer and add what is left.

    Raises
    ------
    TargetError
        A pattern matches nothing (the nearest names are offered), a parameter has no shape yet, or there is nothing to
        penalize at all. ArgumentError, StrengthError, ArrayError, ShapeError, PenaltyError: a key or regularizer that
        cannot work; each names the pattern or target. Nothing is attached then.

    Examples
    --------
    >>> import torch, penalize
    >>> from penalize.regularizers import L1, L2
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> penalties = penalize.attach(model, weights={"*.weight": L2(1e-4), "2.weight": L1(1e-3)}, activity={"1": L1()})
    >>> list(penalties)
    ['0.weight', '2.weight', '1']
    >>> loss = model(torch.ones(5, 4)).square().mean() + penalties.loss()
    >>> penalties["2.weight"].strength = 2e-3
    >>> penalties.detach()
    """
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"attach takes an nn.Module, got {type(model).__name__}")
    weight_targets = select_weights(model, {} if weights is None else weights)
    activity_targets = select_activities(model, {} if activity is None else activity)
    declares = any(declarations_of(module) is not None for module in model.modules())
    if not weights and not activity and not declares:
        raise TargetError("nothing to penalize: give weights or activity; no layer of the model declares a regularizer")
    return Penalties(model, weight_targets, activity_targets)


def attached(model: nn.Module) -> list[Penalties]:
    """The penalties that are attached to a model, in the order of attaching; a copy of a model has its own.

    >>> import copy, torch, penalize
    >>> model = torch.nn.Linear(2, 1)
    >>> penalties = penalize.attach(model, weights={"weight": "l2"})
    >>> penalize.attached(model) == [penalties]
    True
    >>> penalize.attached(copy.deepcopy(model))[0] is penalties
    False
    """
    return list(model.__dict__.get(ATTACHED, ()))


class Penalties(Mapping[str, Target]):
    """The penalties of one model; made by `attach`.

    It is a mapping from dotted names to targets, whose `regularizer` and `strength` can be changed between steps.
    Scalars are float32 at least, float64 for float64 weights. Frozen parameters (`requires_grad=False`) pay nothing,
    their outputs still do.
    """

    def __init__(
        self, model: nn.Module, weights: dict[str, WeightTarget], activities: dict[str, ActivityTarget]
    ) -> None:
        self._model = model
        self._weights = weights
        self._activities = activities
        self._binding: GradientBinding | None = None
        self._attached = True
        self._handles = install_hooks(model, activities.values())
        model.__dict__.setdefault(ATTACHED, []).append(self)

    @property
    def losses(self) -> list[torch.Tensor]:
        """All penalties: those of the outputs of the last outermost call, in call order, then those of weights."""
        return [value for _, value in self.named_losses()]

    def named_losses(self) -> list[tuple[str, torch.Tensor]]:
        """The same with the dotted name of each target; a module that was called twice has two entries."""
        self._check_attached()
        return [*activity_losses(self._activities.values()), *weight_losses(self._weights.values())]

    def loss(self) -> torch.Tensor:
        """What to add to the training loss: the sum of all penalties, differentiable.

        While bound, weight penalties act inside `optimizer.step()`, and this is the sum of the activity penalties.
        """
        self._check_attached()
        losses = activity_losses(self._activities.values())
        if not self.bound:
            losses = [*losses, *weight_losses(self._weights.values())]
        return total(losses, self._device())

    @torch.no_grad()
    def value(self) -> float:
        """The sum of all penalties as a number, bound or not: what is being paid in all."""
        return float(total(self.named_losses(), self._device()))

    def bind(self, optimizer: torch.optim.Optimizer) -> Self:
        """Let weight penalties act inside `optimizer.step()`, once a step however many backward passes came before.

        Their gradients are added to those that the optimizer is about to read: in closed form where the regularizer
        has one, else by autograd. `loss()` then returns only the activity penalties. With a `closure`, the loss that
        it returns to the optimizer contains the weight penalties. Returns itself.

        Raises `BindError` when already bound, or when the optimizer does not hold the parameter of a target.

        >>> import torch, penalize
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.ones_(model.weight)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> penalties = penalize.attach(model, weights={"weight": penalize.regularizers.L2(1.0)}).bind(optimizer)
        >>> optimizer.step()
        >>> model.weight.item()
        0.800000011920929
        """
        self._check_attached()
        if self.bound:
            raise BindError("these penalties are bound already: unbind() them first")
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise ArgumentError(f"bind takes a torch.optim.Optimizer, got {type(optimizer).__name__}")
        self._binding = GradientBinding(list(self._weights.values()), optimizer)
        return self

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """The optimizer in whose step weight penalties act; None when not bound."""
        return None if self._binding is None else self._binding.optimizer

    @property
    def bound(self) -> bool:
        """Whether weight penalties act inside an optimizer's step."""
        return self._binding is not None

    def unbind(self) -> Self:
        """Leave the optimizer as it was: `loss()` returns all penalties again. Without a binding, nothing happens."""
        if self._binding is not None:
            self._binding.remove()
            self._binding = None
        return self

    def detach(self) -> None:
        """Take the penalties off the model and the optimizer, which are then as they were. Cannot be undone."""
        if not self._attached:
            raise DetachedError("these penalties were detached; attach() to the model again")
        self.unbind()
        for handle in self._handles:
            handle.remove()
        remaining = [penalties for penalties in attached(self._model) if penalties is not self]
        if remaining:
            self._model.__dict__[ATTACHED] = remaining
        else:
            del self._model.__dict__[ATTACHED]
        self._attached = False

    def report(self) -> Report:
        """A table of what each target's penalty is now, its share of all, and the share of exact zeros."""
        self._check_attached()
        return report(self._weights.values(), self._activities.values())

    def get_config(self) -> dict[str, dict[str, Any]]:
        """The regularizers as `attach` takes them: {"weights": {name: config}, "activity": {name: config}}.

        Raises `ConfigError` when one of them is a function or class that is not registered.
        """
        return {
            kind: {name: serialize(each.regularizer) for name, each in targets.items() if each.regularizer is not None}
            for kind, targets in (("weights", self._weights), ("activity", self._activities))
        }

    def __getitem__(self, name: str) -> Target:
        targets: dict[str, Target] = {**self._weights, **self._activities}
        found = targets.get(name) or targets.get(aliases(self._model).get(name, name))
        if found is None:
            raise TargetError(f"no target is named {name!r}: {nearest(str(name), targets)}")
        return found

    def __iter__(self) -> Iterator[str]:
        targets = [*self._weights.items(), *self._activities.items()]
        yield from (name for name, target in targets if target.regularizer is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        own = list(self)
        return name in own or (isinstance(name, str) and aliases(self._model).get(name) in own)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        targets = ", ".join(f"{name or '(model)'}: {self[name].regularizer!r}" for name in self)
        return f"Penalties({targets})"

    def __getstate__(self) -> dict[str, Any]:
        # A copy of the model is trained by another optimizer: its penalties are attached, but not bound.
        return {**self.__dict__, "_binding": None}

    def _check_attached(self) -> None:
        if not self._attached:
            raise DetachedError("these penalties were detached; attach() to the model again")
        modules = [(name.rpartition(".")[0], target) for name, target in self._weights.items()]
        for path, target in [*modules, *self._activities.items()]:
            try:
                found: nn.Module | None = self._model.get_submodule(path)
            except AttributeError:
                found = None
            if found is not target.module:
                raise TargetError(f"{target.name}: its module was replaced or removed; detach() and attach() again")

    def _device(self) -> torch.device:
        tensor = next(self._model.parameters(), None)
        return torch.device("cpu") if tensor is None else tensor.device
