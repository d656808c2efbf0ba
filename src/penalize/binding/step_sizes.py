"""The step size that each coordinate has in the step of an optimizer whose metric is diagonal.

An optimizer moves w by -h m, with m an average of gradients and h the step sizes: the proximal step that belongs to it
is taken with the same h. Source: Yun, Lozano and Yang, Adaptive Proximal Gradient Methods for Structured Neural
Networks, 2021.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from penalize.errors import BindError
from penalize.evaluation import StepSizes
from penalize.optimizers import rules

__all__ = ["has_metric", "refuse_without_metric", "step_sizes"]

Group = dict[str, Any]
State = dict[str, Any]


def step_sizes(optimizer: torch.optim.Optimizer, group: Group, parameter: torch.Tensor) -> StepSizes:
    """Those of the step that was just taken on a parameter of a group."""
    return _METRICS[type(optimizer)](group, optimizer.state[parameter])


def has_metric(optimizer: torch.optim.Optimizer) -> bool:
    """Whether its coordinates have step sizes of their own, and not all the same."""
    return _METRICS[type(optimizer)] is not _sgd


def refuse_without_metric(optimizer: torch.optim.Optimizer, target: str) -> None:
    """`BindError` unless the optimizer's step sizes are known and its steps go down."""
    kind = type(optimizer)
    if kind not in _METRICS:
        known = ", ".join(sorted({cls.__name__ for cls in _METRICS if cls.__module__.startswith("torch.")}))
        raise BindError(
            f"{target}: proximal steps need the step size of each coordinate, which is not known of "
            f"{kind.__module__}.{kind.__qualname__}; known are {known} of torch.optim, and those of "
            "penalize.optimizers of the same names; use bind(optimizer) without proximal=True"
        )
    for group in optimizer.param_groups:
        if group.get("maximize"):
            raise BindError(f"{target}: {kind.__name__}(maximize=True) goes up, and proximal steps go down")
        if group.get("differentiable"):
            raise BindError(
                f"{target}: the step of {kind.__name__} is differentiated (differentiable=True), and proximal steps "
                "have no graph; use loss() instead of bind()"
            )
        clipped = [name for name in ("clipnorm", "clipvalue", "global_clipnorm") if group.get(name) is not None]
        if clipped:
            raise BindError(
                f"{target}: {kind.__name__}({clipped[0]}=...) clips gradients inside its step, and the proximal step "
                "would not know by how much, which moves the solution; use penalties.clip_grad_norm_(max_norm)"
            )


def _sgd(group: Group, state: State) -> StepSizes:
    # What a constant gradient moves in the long run; of Nesterov's momentum, for which torch has no dampening, too.
    return StepSizes(float(group["lr"]) * (1 - group.get("dampening", 0)) / (1 - group["momentum"]))


def _adam(group: Group, state: State) -> StepSizes:
    largest = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
    return _of_average(group, largest, state)


def _nadam(group: Group, state: State) -> StepSizes:
    return _of_average(group, state["exp_avg_sq"], state)


def _of_average(group: Group, squares: torch.Tensor, state: State) -> StepSizes:
    # lr / (sqrt(v / c) + eps), with c the bias correction of v.
    root = math.sqrt(1 - float(group["betas"][1]) ** float(state["step"]))
    return StepSizes(float(group["lr"]) * root, squares, outside=group["eps"] * root)


def _radam(group: Group, state: State) -> StepSizes:
    beta2, step = float(group["betas"][1]), float(state["step"])
    correction = 1 - beta2**step
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * step * beta2**step / correction
    if length <= 5.0:
        return StepSizes(float(group["lr"]))
    rectified = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    scale = float(group["lr"]) * math.sqrt(rectified * correction)
    return StepSizes(scale, state["exp_avg_sq"], outside=group["eps"])


def _rmsprop(group: Group, state: State) -> StepSizes:
    scale = float(group["lr"]) / (1 - group["momentum"])
    return StepSizes(scale, _centered(group, state), outside=group["eps"])


def _rmsprop_of_keras(group: Group, state: State) -> StepSizes:
    scale = float(group["lr"]) / (1 - group["momentum"])
    return StepSizes(scale, _centered(group, state), inside=group["eps"])


def _centered(group: Group, state: State) -> torch.Tensor:
    squares: torch.Tensor = state["square_avg"]
    return (squares - state["grad_avg"] ** 2).clamp_(min=0) if group["centered"] else squares


def _adagrad(group: Group, state: State) -> StepSizes:
    scale = float(group["lr"]) / (1 + (float(state["step"]) - 1) * group["lr_decay"])
    return StepSizes(scale, state["sum"], outside=group["eps"])


def _adagrad_of_keras(group: Group, state: State) -> StepSizes:
    return StepSizes(float(group["lr"]), state["sum"], inside=group["eps"])


def _adamax(group: Group, state: State) -> StepSizes:
    return StepSizes(float(group["lr"]), state["exp_inf"], rooted=False)


def _adamax_of_keras(group: Group, state: State) -> StepSizes:
    return StepSizes(float(group["lr"]), state["exp_inf"], outside=group["eps"], rooted=False)


_METRICS: dict[type, Callable[[Group, State], StepSizes]] = {
    torch.optim.SGD: _sgd,
    torch.optim.Adam: _adam,
    torch.optim.AdamW: _adam,
    torch.optim.NAdam: _nadam,
    torch.optim.RAdam: _radam,
    torch.optim.RMSprop: _rmsprop,
    torch.optim.Adagrad: _adagrad,
    torch.optim.Adamax: _adamax,
    rules.SGDRule: _sgd,
    rules.AdamRule: _adam,
    rules.AdamWRule: _adam,
    rules.NadamRule: _nadam,
    rules.RMSpropRule: _rmsprop_of_keras,
    rules.AdagradRule: _adagrad_of_keras,
    rules.AdamaxRule: _adamax_of_keras,
}
