"""Penalty gradients at the steps of the optimizers to which penalties are bound."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch._compile import _disable_dynamo

from penalize.binding.gradients import Share
from penalize.binding.zeroing import when_zeroed
from penalize.errors import ArrayError, BindError
from penalize.evaluation import Plan, WeightPenalties, total
from penalize.regularizers.distributed import is_distributed, whole

__all__ = ["GradientBinding"]

_groups, _parameters = operator.attrgetter("param_groups"), operator.itemgetter("params")
# Settings of parameter groups for which a step may be refused, and those for which a proximal one may.
_is_differentiated = operator.methodcaller("get", "differentiable")
SETTINGS_OF_PROXIMAL = ("differentiable", "maximize", "clipnorm", "clipvalue", "global_clipnorm")


def _settings_of_proximal(group: dict[str, Any]) -> list[Any]:
    return list(map(group.get, SETTINGS_OF_PROXIMAL))


class GradientBinding:
    """Adds the gradients of weight penalties inside `optimizer.step()`, once a step, before the optimizer reads them.

    Each optimizer adds those of the parameters that it holds. With a closure the gradients are added after each
    evaluation of it, and the loss that it returns to the optimizer contains the penalties. When proximal, penalties
    that have a proximal step take it after the optimizer's, instead.
    """

    def __init__(
        self, penalties: WeightPenalties, optimizers: tuple[torch.optim.Optimizer, ...], proximal: bool = False
    ) -> None:
        self.penalties = penalties
        self.optimizers = optimizers
        self.proximal = proximal
        # One optimizer has all targets, and shares the plan with `loss()`.
        alone = len(optimizers) == 1 and not proximal
        self._shares = [Share(each, penalties if alone else WeightPenalties(())) for each in optimizers]
        # What the targets were shared out by: the plan of all, the parameters, and the settings of their groups.
        self._plan: Any = None
        self._held: list[torch.Tensor] = []
        self._settings: list[Any] = []
        for share in self._shares:
            self._plan_of(share)
        if proximal:
            from penalize.binding.proximal import warn_of_decay

            # Before anything is changed: a warning may be an error.
            warn_of_decay(optimizers)
        self._undo: list[Callable[[], None]] = [
            share.optimizer.register_step_pre_hook(functools.partial(self._before_step, share)).remove
            for share in self._shares
        ]
        if proximal:
            self._undo += [
                share.optimizer.register_step_post_hook(functools.partial(self._after_step, share)).remove
                for share in self._shares
            ]
        self._hears_zeroing = False

    def remove(self) -> None:
        """Leave the optimizers as they were."""
        for undo in self._undo:
            undo()

    def backward(self) -> None:
        """Add the gradients now; the next step of each optimizer does not."""
        plans = [self._plan_of(share) for share in self._shares]
        for share in self._shares:
            if share.waits():
                raise BindError(
                    "backward() was called before, and the gradients that it added still wait for the step of "
                    f"{type(share.optimizer).__name__}: call it once a step; if that step was left out, begin anew "
                    "with optimizer.zero_grad()"
                )
        if not self._hears_zeroing:
            self._hears_zeroing = True
            self._undo += [when_zeroed(share.optimizer, share.begin) for share in self._shares]
        for share, plan in zip(self._shares, plans, strict=True):
            share.add_ahead(plan)

    def clip_grad_norm_(self, max_norm: float, norm_type: float) -> torch.Tensor:
        """Clip the gradients of all parameters together; the next proximal steps know by how much."""
        optimizers = [share.optimizer for share in self._shares]
        parameters = [p for each in optimizers for group in each.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm, norm_type)
        coefficient = min(1.0, max_norm / (float(whole(norm) if is_distributed(norm) else norm) + 1e-6))
        for share in self._shares:
            share.clipping.coefficient *= coefficient
        return norm

    def _plan_of(self, share: Share) -> Plan:
        """The plan for one optimizer's targets, which are shared out anew where something is not as it was.

        Parameters may have been unfrozen, replaced or tied since the last step, or given to an optimizer or taken from
        it; what is written into a group changes its settings.
        """
        plan = self.penalties.current()
        groups = list(chain.from_iterable(map(_groups, self.optimizers)))
        held = list(chain.from_iterable(map(_parameters, groups)))
        settings = list(map(_settings_of_proximal if self.proximal else _is_differentiated, groups))
        if not (
            plan is self._plan
            and settings == self._settings
            and len(held) == len(self._held)
            and all(map(operator.is_, held, self._held))
        ):
            self._share_out()
            self._plan, self._held, self._settings = plan, held, settings
        return plan if share.penalties is self.penalties else share.penalties.current()

    def _share_out(self) -> None:
        """Give each optimizer its targets."""
        holders: dict[int, list[Share]] = {}
        differentiated: set[int] = set()
        for share in self._shares:
            for group in share.optimizer.param_groups:
                keys = {id(parameter) for parameter in group["params"]}
                if group.get("differentiable"):
                    differentiated |= keys
                for key in keys:
                    holders.setdefault(key, []).append(share)
        targets: dict[Share, list[Any]] = {share: [] for share in self._shares}
        given: set[int] = set()
        for target in self.penalties.targets:
            if target.regularizer is None or target.frozen:
                continue
            weight = target.tensor()
            _check_weight(target.name, weight)
            key = id(weight)
            if key in given:
                # Tied after attaching: the penalty of the first name is paid.
                continue
            given.add(key)
            found = holders.get(key, [])
            if len(found) != 1:
                raise BindError(f"{target.name}: {_not_held_once(self.optimizers, found)}")
            if key in differentiated:
                raise BindError(
                    f"{target.name}: the step of {type(found[0].optimizer).__name__} is differentiated "
                    "(differentiable=True), and what is added in a step has no graph; use loss() instead of bind()"
                )
            targets[found[0]].append(target)
        if self.proximal:
            # It knows all optimizers, which a program without proximal steps need not import.
            from penalize.binding.proximal import ProximalSteps

            proximal = [ProximalSteps(share.optimizer, own) for share, own in targets.items()]
            for share, steps in zip(self._shares, proximal, strict=True):
                share.proximal = steps
                targets[share] = [target for target in targets[share] if target not in steps.targets]
        if len(self._shares) > 1 or self.proximal:
            for share, own in targets.items():
                share.penalties = WeightPenalties(own)

    def _before_step(
        self, share: Share, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if torch.compiler.is_compiling():
            return self._before_compiled_step(share, optimizer, args, kwargs)
        if len(args) > 1 or kwargs:
            return self._begin_step(share, optimizer, args, kwargs)
        share.add(self._plan_of(share))
        return None

    def _begin_step(
        self, share: Share, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        # torch hands pre-hooks the arguments of `step` with the optimizer itself in front.
        itself, *given = args
        closure = given[0] if given else kwargs.get("closure")
        if closure is None:
            share.add(self._plan_of(share))
            return None
        if share.waits():
            raise BindError(
                f"backward() was called before {type(optimizer).__name__}.step(closure), which computes the gradients "
                "anew; call backward() inside the closure"
            )
        penalized = self._penalized(share, closure)
        return ((itself, penalized), {}) if given else (args, {**kwargs, "closure": penalized})

    def _after_step(self, share: Share, *_: Any) -> None:
        if torch.compiler.is_compiling():
            self._after_compiled_step(share)
        else:
            self._end_step(share)

    def _end_step(self, share: Share) -> None:
        if share.proximal is not None:
            share.proximal.take(share.clipping)

    # A compiled step leaves these out of its graph: it would be compiled again for each target. The public
    # `torch.compiler.disable` imports the compiler, which takes a second, where it is only named.
    _before_compiled_step = _disable_dynamo(_begin_step)
    _after_compiled_step = _disable_dynamo(_end_step)

    def _penalized(self, share: Share, closure: Callable[[], Any]) -> Callable[[], Any]:
        def evaluate() -> Any:
            loss = closure()
            share.add(self._plan_of(share))
            if loss is None:
                return None
            with torch.no_grad():
                values = [value for each in self._shares for value in each.values()]
                return loss + total(values, lambda: torch.as_tensor(loss).device)

        return evaluate


def _check_weight(name: str, weight: torch.Tensor) -> None:
    if not isinstance(weight, nn.Parameter):
        raise BindError(
            f"{name}: the module computes this weight from others (it is parametrized or pruned), which no gradient "
            "added at the optimizer's step reaches; use loss() instead of bind(), or exclude the target with None"
        )
    if not weight.is_floating_point():
        raise ArrayError(f"{name}: only real floating-point weights can be penalized, got {weight.dtype}")


def _not_held_once(optimizers: tuple[torch.optim.Optimizer, ...], found: list[Share]) -> str:
    if found:
        several = " and ".join(type(share.optimizer).__name__ for share in found)
        return f"the optimizers {several} hold this parameter, and its penalty would act in each step; leave it to one"
    if len(optimizers) == 1:
        who = f"the optimizer {type(optimizers[0]).__name__} does not hold"
    else:
        who = f"none of the optimizers {', '.join(type(each).__name__ for each in optimizers)} holds"
    return (
        f"{who} this parameter, so its penalty could not act; give the optimizer the parameter, or exclude the target "
        "with None"
    )
