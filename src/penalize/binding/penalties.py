"""What `attach` returns: the penalties of one model, to be added to its loss or bound to its optimizer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import torch
from torch import nn

from penalize.binding.plans import plan_text, read_plan, save_plan, targets_of_plan
from penalize.binding.steps import GradientBinding
from penalize.errors import ArgumentError, BindError, DetachedError, TargetError, nearest
from penalize.evaluation import Report, WeightPenalties, activity_losses, report, total, weight_losses
from penalize.placement import (
    ActivityTarget,
    Target,
    WeightTarget,
    aliases,
    install_hooks,
)
from penalize.regularizers import serialize

__all__ = ["Penalties", "attached"]

ATTACHED = "_penalize_attached"


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
    """The penalties of one model; made by `attach`, or from a file by `load`.

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
        self._fused = WeightPenalties(weights.values())
        self._links = _links(model, [*weights.values(), *activities.values()])
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
        values = [value for _, value in activity_losses(self._activities.values())]
        if not self.bound:
            values = [*values, *self._fused.values()]
        return total(values, self._device)

    @torch.no_grad()
    def value(self) -> float:
        """The sum of all penalties as a number, bound or not: what is being paid in all."""
        return float(total(self.losses, self._device))

    def bind(self, *optimizers: torch.optim.Optimizer, proximal: bool = False) -> Self:
        """Let weight penalties act inside `optimizer.step()`, once a step however many backward passes came before.

        Their gradients are added to those that the optimizer is about to read: in closed form where the regularizer
        has one, else by autograd. `loss()` then returns only the activity penalties. With a `closure`, the loss that
        it returns to the optimizer contains the weight penalties. Where an optimizer maximizes, they are subtracted.
        Of several optimizers, each adds the gradients of the parameters that it holds. Copies of an optimizer are not
        bound. A gradient that cannot be changed in place (expanded, made in inference mode) is replaced by a copy.
        Parameters may be replaced, cast, frozen or given other data between steps; a module that was replaced is
        noticed by `loss()` and `value()`, not by the step. Returns itself.

        With `proximal=True` penalties that have a proximal step (`prox`) add no gradient: after the optimizer's step w,
        the weight becomes argmin_x R(x) + sum((x - w)**2 / (2 h)), with h the step size that the optimizer has for each
        coordinate, which makes weights exactly 0. That is known of SGD, Adam, AdamW, NAdam, RAdam, RMSprop, Adagrad and
        Adamax, of torch.optim and of penalize.optimizers. Parameters that the step leaves out stay as they are. Clip
        gradients with `clip_grad_norm_` of this object only. The learning rate must fit the scale of the weights. A
        decoupled weight decay (AdamW's default) moves the solution, and warns.

        Raises `BindError` when already bound, when no optimizer or more than one holds the parameter of a target, when
        a step is to be differentiated, and for optimizers and penalties whose proximal step could not be right; the
        step raises it where that comes later. Sparse gradients are refused at the step.

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
        for optimizer in optimizers:
            if not isinstance(optimizer, torch.optim.Optimizer):
                raise ArgumentError(f"bind takes a torch.optim.Optimizer, got {type(optimizer).__name__}")
        if not optimizers:
            raise ArgumentError("bind takes at least one torch.optim.Optimizer, got none")
        self._binding = GradientBinding(self._fused, tuple(dict.fromkeys(optimizers)), proximal)
        return self

    def backward(self) -> None:
        """Add the gradients of the bound weight penalties to `.grad` now, for what looks at gradients before the step.

        Such as clipping. The next `optimizer.step()` does not add them again; then a new cycle begins. Call it once a
        step, after the last backward pass of the loss, or inside the closure that the step takes. Under a `GradScaler`
        call `scaler.unscale_(optimizer)` first: it cannot be told from gradients whether they are still scaled.

        `optimizer.zero_grad()` and `.grad = None` take the penalties' gradients away with the others, so that the step
        adds them, or the next `backward()` does: also after a step that a GradScaler skipped. Zeros that are written
        into `.grad` in another way are not noticed. Change gradients in place: a step refuses those that were replaced.
        `unbind()` leaves gradients as they are.

        Raises `BindError` when not bound, when called twice before a step, and as `step()` for what cannot be added.

        >>> import torch, penalize
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.ones_(model.weight)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> penalties = penalize.attach(model, weights={"weight": penalize.regularizers.L2(1.0)}).bind(optimizer)
        >>> model(torch.ones(1, 1)).sum().backward()
        >>> penalties.backward()
        >>> torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0).item()
        3.0
        >>> optimizer.step()
        >>> round(model.weight.item(), 5)
        0.9
        """
        self._check_attached()
        if self._binding is None:
            raise BindError("backward() adds the gradients of bound penalties: bind() them first, or use loss()")
        self._binding.backward()

    def clip_grad_norm_(self, max_norm: float, norm_type: float = 2.0) -> torch.Tensor:
        """`backward()`, then `torch.nn.utils.clip_grad_norm_` of all parameters of the optimizers; returns their norm.

        Proximal steps shrink by as much less as gradients were clipped: without that the solution would be another.
        """
        self.backward()
        assert self._binding is not None
        return self._binding.clip_grad_norm_(max_norm, norm_type)

    @property
    def optimizers(self) -> tuple[torch.optim.Optimizer, ...]:
        """The optimizers in whose steps weight penalties act."""
        return () if self._binding is None else self._binding.optimizers

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """The one optimizer in whose step all weight penalties act; None when not bound, or bound to several."""
        return self.optimizers[0] if len(self.optimizers) == 1 else None

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

    def to_json(self) -> str:
        """These penalties as JSON text, from which `from_json` puts the same ones on a model.

        It states everything: each target with its regularizer as it is now, and as null each that pays nothing although
        its layer declares a regularizer. It is sorted, and strengths are exact. Whether they are bound is not in it.

        Raises `ConfigError`, naming the target, when a regularizer is a function or class that is not registered, or
        when its config is not made of JSON's values; DetachedError or TargetError when it is not on the model any more.

        >>> import torch, penalize
        >>> penalties = penalize.attach(torch.nn.Linear(2, 1), weights={"weight": penalize.regularizers.L2(0.1)})
        >>> print(penalties.to_json())
        {
          "activity": {},
          "format": "penalize.penalties",
          "version": 1,
          "weights": {
            "weight": {
              "class_name": "L2",
              "config": {
                "l2": 0.1
              },
              "module": "keras.regularizers",
              "registered_name": null
            }
          }
        }
        """
        self._check_attached()
        return plan_text(self._model, self._weights, self._activities)

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write `to_json()` to a file, whole or not at all.

        Raises what `to_json` raises, and `FileError` when there is a file already and `overwrite` is False, or when it
        cannot be written.
        """
        save_plan(self.to_json(), path, overwrite)

    @classmethod
    def from_json(cls, model: nn.Module, text: str, custom_objects: Mapping[str, Any] | None = None) -> Self:
        """Put the penalties that `to_json` described on a model, and nothing else: what its layers declare is left out.

        As with rules of `attach`, what the layers hold themselves (`layer.kernel_regularizer`) stays as it is, and so
        do losses that they add. A weight with several names may stand under any of them. The penalties are not bound.

        Parameters: `model`, which must have every parameter and module that is listed; `text`, the JSON;
        `custom_objects`, from names to classes and functions that need not be registered.

        Raises `TargetError` for names that the model does not have, offering the nearest; `ConfigError`,
        `UnknownNameError`, `StrengthError` for a text that `to_json` did not write, naming the key; and what `attach`
        raises for a regularizer that does not fit its target. Nothing is attached then. Nothing is ever imported.

        >>> import torch, penalize
        >>> model, other = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
        >>> text = penalize.attach(model, weights={"*": "l2", "bias": "l1"}).to_json()
        >>> penalize.Penalties.from_json(other, text)
        Penalties(weight: L2(l2=0.01), bias: L1(l1=0.01))
        >>> penalize.Penalties.from_json(torch.nn.Sequential(other), text)
        Traceback (most recent call last):
        ...
        penalize.errors.TargetError: the JSON of penalties: weights['bias'] is no parameter of the model: did you mean \
'0.bias'?; weights['weight'] is no parameter of the model: did you mean '0.weight'?
        """
        return cls(model, *targets_of_plan(model, text, custom_objects, "the JSON of penalties"))

    @classmethod
    def load(
        cls, model: nn.Module, path: str | os.PathLike[str], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """The same from a file that `save` wrote; every error names the file.

        Raises what `from_json` raises, and `FileError` for what is no regular file, or too large to be one of these.

        >>> import pathlib, tempfile, torch, penalize
        >>> penalties = penalize.attach(torch.nn.Linear(2, 1), weights={"weight": penalize.regularizers.L2(0.1)})
        >>> penalties["weight"].strength = 0.3
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     penalties.save(pathlib.Path(folder, "plan.json"))
        ...     penalize.Penalties.load(torch.nn.Linear(2, 1), pathlib.Path(folder, "plan.json"))
        Penalties(weight: L2(l2=0.3))
        """
        return cls(model, *targets_of_plan(model, read_plan(path), custom_objects, str(path)))

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
        for modules, name, part, target in self._links:
            if modules.get(name) is not part:
                raise TargetError(f"{target}: its module was replaced or removed; detach() and attach() again")

    def _device(self) -> torch.device:
        tensor = next(self._model.parameters(), None)
        return torch.device("cpu") if tensor is None else tensor.device


def _links(model: nn.Module, targets: Iterable[Target]) -> list[tuple[dict[str, Any], str, nn.Module, str]]:
    """The way from the model down to each target: where a module is held, under which name, and a target behind it."""
    found: dict[tuple[int, str], tuple[dict[str, Any], str, nn.Module, str]] = {}
    for target in targets:
        path = target.name.rpartition(".")[0] if isinstance(target, WeightTarget) else target.name
        part = model
        for name in path.split(".") if path else ():
            modules = part._modules
            part = part.get_submodule(name)
            found.setdefault((id(modules), name), (modules, name, part, target.name))
    return list(found.values())
