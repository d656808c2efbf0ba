"""Keras's update rules as `torch.optim` optimizers: torch's own arithmetic wherever it is equal.

They are made by the specs (`penalize.optimizers.Adam(...).build(parameters)`) and behave like any torch optimizer:
closures, hooks, `state_dict`, copies, `param_groups[i]["lr"]`. Where torch has a class of the same method, ours
derives from it and keeps its names of groups and states. Formulas: g gradient, w weight, t the count of steps.
"""

from __future__ import annotations

import math
import operator
from collections import defaultdict
from collections.abc import Callable
from typing import Any, overload

import torch
from torch.optim import adadelta, adam, nadam, sgd

from penalize.errors import ArrayError
from penalize.optimizers.clipping import clip

__all__ = [
    "AdadeltaRule",
    "AdagradRule",
    "AdamRule",
    "AdamWRule",
    "AdamaxRule",
    "LionRule",
    "NadamRule",
    "RMSpropRule",
    "Rule",
    "SGDRule",
]

Group = dict[str, Any]
State = dict[str, Any]
Tensors = list[torch.Tensor]


class Rule(torch.optim.Optimizer):
    """What all have in common: closures, clipping, decoupled weight decay, then the method's own `update`.

    One step: clip the gradients; `w -= lr * weight_decay * w`; `update`. Parameters without a gradient are left out.
    All settings are in the parameter groups, so that `state_dict` and copies carry them.
    """

    def __init__(self, params: Any, **settings: Any) -> None:
        torch.optim.Optimizer.__init__(self, params, settings)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of all parameters; `closure`, if given, computes the gradients and returns the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            self._apply()
        return loss

    def _apply(self) -> None:
        chosen = [[w for w in group["params"] if w.grad is not None] for group in self.param_groups]
        gradients = [[self._gradient(w) for w in weights] for weights in chosen]
        global_norm = None
        if any(group.get("global_clipnorm") is not None for group in self.param_groups):
            global_norm = torch.nn.utils.get_total_norm([g for some in gradients for g in some])
        for group, weights, unclipped in zip(self.param_groups, chosen, gradients, strict=True):
            group["iterations"] = group.get("iterations", 0) + 1
            if not weights:
                continue
            if group["weight_decay"]:
                for w in weights:
                    w.mul_(1 - float(group["lr"]) * group["weight_decay"])
            self.update(group, weights, clip(group, unclipped, global_norm), [self._state(w, group) for w in weights])

    @staticmethod
    def _gradient(w: torch.Tensor) -> torch.Tensor:
        assert w.grad is not None
        if w.grad.is_sparse:
            raise ArrayError(f"sparse gradients are not supported, got one for a parameter of shape {tuple(w.shape)}")
        return w.grad

    def _state(self, w: torch.Tensor, group: Group) -> State:
        state: State = self.state[w]
        if not state:
            state.update(self.initial_state(w, group))
        return state

    def initial_state(self, w: torch.Tensor, group: Group) -> State:
        """The states of a parameter before its first step."""
        raise NotImplementedError

    def update(self, group: Group, weights: Tensors, gradients: Tensors, states: list[State]) -> None:
        """Move the weights and the states of one group by one step."""
        raise NotImplementedError


_dtype, _is_on_cpu = map(operator.attrgetter, ("dtype", "is_cpu"))


def column(states: list[State], name: str) -> Tensors:
    return [state[name] for state in states]


class SGDRule(Rule, torch.optim.SGD):
    """v = momentum v + lr g; w -= v, or with nesterov w -= momentum v + lr g.

    As torch's SGD, but lr is inside of v as in Keras, which matters when lr changes between steps.
    """

    def initial_state(self, w: torch.Tensor, group: Group) -> State:
        return {"momentum_buffer": torch.zeros_like(w) if group["momentum"] else None}

    def update(self, group: Group, weights: Tensors, gradients: Tensors, states: list[State]) -> None:
        lr = float(group["lr"])
        momentum = group["momentum"]
        sgd.sgd(
            weights,
            [lr * g for g in gradients] if momentum else gradients,
            [state["momentum_buffer"] for state in states],
            lr=1.0 if momentum else lr,
            momentum=momentum,
            nesterov=group["nesterov"] and momentum > 0,
            weight_decay=0.0,
            dampening=0.0,
            maximize=False,
        )


class AdamRule(Rule, torch.optim.Adam):
    """m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g**2; w -= lr sqrt(1 - b2**t) / (1 - b1**t) m / (sqrt(v) + epsilon).

    That is torch's Adam with eps = epsilon / sqrt(1 - b2**t), which the group's "eps" shows after each step. With
    amsgrad, v's largest value so far is in its place.
    """

    def initial_state(self, w: torch.Tensor, group: Group) -> State:
        state = {"step": torch.tensor(0.0), "exp_avg": torch.zeros_like(w), "exp_avg_sq": torch.zeros_like(w)}
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = torch.zeros_like(w)
        return state

    def update(self, group: Group, weights: Tensors, gradients: Tensors, states: list[State]) -> None:
        beta1, beta2 = group["betas"]
        fused = _are_fusible(weights, gradients)
        by_step: dict[float, list[int]] = defaultdict(list)
        for index, state in enumerate(states):
            by_step[float(state["step"])].append(index)
        for step, indices in sorted(by_step.items()):
            group["eps"] = group["epsilon"] / math.sqrt(1 - beta2 ** (step + 1))
            some = [states[index] for index in indices]
            adam.adam(
                [weights[index] for index in indices],
                [gradients[index] for index in indices],
                column(some, "exp_avg"),
                column(some, "exp_avg_sq"),
                column(some, "max_exp_avg_sq") if group["amsgrad"] else [],
                column(some, "step"),
                amsgrad=group["amsgrad"],
                beta1=beta1,
                beta2=beta2,
                lr=group["lr"],
                weight_decay=0.0,
                eps=group["eps"],
                maximize=False,
                fused=fused,
            )


def _are_fusible(weights: Tensors, gradients: Tensors) -> bool:
    """Whether torch's fused kernel for CPUs, which reads each tensor once, takes them; elsewhere torch chooses."""
    dtypes = list(map(_dtype, weights))
    return (
        {torch.nn.Parameter}.issuperset(map(type, weights))
        and {torch.Tensor}.issuperset(map(type, gradients))
        and all(map(_is_on_cpu, weights))
        and {torch.float32, torch.float64}.issuperset(dtypes)
        and dtypes == list(map(_dtype, gradients))
    )


class AdamWRule(AdamRule, torch.optim.AdamW):
    """`AdamRule`; its weight decay, decoupled like everybody's here, is on by default."""


class AdamaxRule(Rule, torch.optim.Adamax):
    """m = b1 m + (1 - b1) g; u = max(b2 u, abs(g)); w -= lr / (1 - b1**t) m / (u + epsilon).

    torch's Adamax has epsilon inside the maximum.
    """

    def initial_state(self, w: torch.Tensor, group: Group) -> State:
        return {"step": torch.tensor(0.0), "exp_avg": torch.zeros_like(w), "exp_inf": torch.zeros_like(w)}

    def update(self, group: Group, weights: Tensors, gradients: Tensors, states: list[State]) -> None:
        beta1, beta2 = group["betas"]
        for w, g, state in zip(weights, gradients, states, strict=True):
            state["step"] += 1
            m = state["exp_avg"].lerp_(g, 1 - beta1)
            u = state["exp_inf"].mul_(beta2)
            torch.maximum(u, g.abs(), out=u)
            w.addcdiv_(m, u + group["eps"], value=-float(group["lr"]) / (1 - beta1 ** float(state["step"])))


class NadamRule(Rule, torch.optim.NAdam):
    """torch's NAdam with momentum decay 1, so that the momentum of step t is b1 (1 - 0.96**t / 2)."""

    def initial_state(self, w: torch.Tensor, group: Group) -> State:
        zeros = {"exp_avg": torch.zeros_like(w), "exp_avg_sq": torch.zeros_like(w)}
        return {"step": torch.tensor(0.0), "mu_product": torch.tensor(1.0), **zeros}

    def update(self, group: Group, weights: Tensors, gradients: Tensors, states: list[State]) -> None:
        nadam.nadam(
            weights,
            gradients,
            column(states, "exp_avg"),
            column(states, "exp_avg_sq"),
            column(states, "mu_product"),
            column(states, "step"),
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=float(group["lr"]),
            weight_decay=0.0,
            momentum_decay=group["momentum_decay"],
            eps=group["eps"],
        )


class AdadeltaRule(Rule, torch.optim.Adadelta):
    """torch's Adadelta."""

    def initial_state(self, w: torch.Tensor, group: Group) -> State:
        return {"step": torch.tensor(0.0), "square_avg": torch.zeros_like(w), "acc_delta": torch.zeros_like(w)}

    def update(self, group: Group, weights: Tensors, gradients: Tensors, states: list[State]) -> None:
        adadelta.adadelta(
            weights,
            gradients,
            column(states, "square_avg"),
            column(states, "acc_delta"),
            column(states, "step"),
            lr=float(group["lr"]),
            rho=group["rho"],
            eps=group["eps"],
            weight_decay=0.0,
            maximize=False,
        )


class AdagradRule(Rule):
    """a = a + g**2 from a = initial_accumulator_value; w -= lr g / sqrt(a + epsilon).

    torch's Adagrad adds epsilon after the square root.
    """

    def initial_state(self, w: torch.Tensor, group: Group) -> State:
        return {"sum": torch.full_like(w, group["initial_accumulator_value"])}

    def update(self, group: Group, weights: Tensors, gradients: Tensors, states: list[State]) -> None:
        for w, g, state in zip(weights, gradients, states, strict=True):
            total = state["sum"].addcmul_(g, g)
            w.addcdiv_(g, (total + group["eps"]).sqrt_(), value=-float(group["lr"]))


class RMSpropRule(Rule):
    """v = rho v + (1 - rho) g**2; d = lr g / sqrt(v + epsilon); b = momentum b + d; w -= b.

    With centered, a = rho a + (1 - rho) g and v - a**2 is in v's place. torch's RMSprop adds epsilon after the square
    root and has lr outside of b.
    """

    def initial_state(self, w: torch.Tensor, group: Group) -> State:
        state = {"square_avg": torch.zeros_like(w)}
        if group["centered"]:
            state["grad_avg"] = torch.zeros_like(w)
        if group["momentum"]:
            state["momentum_buffer"] = torch.zeros_like(w)
        return state

    def update(self, group: Group, weights: Tensors, gradients: Tensors, states: list[State]) -> None:
        rho = group["rho"]
        for w, g, state in zip(weights, gradients, states, strict=True):
            v = state["square_avg"].mul_(rho).addcmul_(g, g, value=1 - rho)
            if group["centered"]:
                a = state["grad_avg"].lerp_(g, 1 - rho)
                v = v - a * a
            step = float(group["lr"]) * g / (v + group["eps"]).sqrt_()
            if group["momentum"]:
                step = state["momentum_buffer"].mul_(group["momentum"]).add_(step)
            w.sub_(step)


class LionRule(Rule):
    """w -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g. Chen et al., Symbolic Discovery ..., 2023."""

    def initial_state(self, w: torch.Tensor, group: Group) -> State:
        return {"exp_avg": torch.zeros_like(w)}

    def update(self, group: Group, weights: Tensors, gradients: Tensors, states: list[State]) -> None:
        beta1, beta2 = group["betas"]
        for w, g, state in zip(weights, gradients, states, strict=True):
            m = state["exp_avg"]
            w.sub_(torch.sign(m * beta1 + g * (1 - beta1)), alpha=float(group["lr"]))
            m.mul_(beta2).add_(g, alpha=1 - beta2)
