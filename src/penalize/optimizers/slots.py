"""The states of our optimizers as the list of arrays that Keras's files hold, in its order, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from penalize.optimizers import rules

__all__ = ["Slot", "iterations", "put", "slots_of", "values"]


@dataclass(frozen=True)
class Slot:
    """One state of one parameter (or of all, without one): its place among the optimizer's states, and its sign.

    Keras's momentum of SGD points the other way.
    """

    name: str
    parameter: torch.Tensor | None
    sign: float = 1.0


def slots_of(optimizer: torch.optim.Optimizer, parameters: list[torch.Tensor]) -> list[Slot]:
    """What Keras keeps for these parameters, in its order, after the iteration and the learning rate."""
    group = optimizer.param_groups[0]

    def each(*names: str, sign: float = 1.0) -> list[Slot]:
        return [Slot(name, parameter, sign) for parameter in parameters for name in names]

    if isinstance(optimizer, rules.SGDRule):
        return each("momentum_buffer", sign=-1.0) if group["momentum"] else []
    if isinstance(optimizer, rules.NadamRule):
        return [*each("exp_avg", "exp_avg_sq"), Slot("mu_product", None)]
    if isinstance(optimizer, rules.AdamRule):
        return [*each("exp_avg", "exp_avg_sq"), *(each("max_exp_avg_sq") if group["amsgrad"] else [])]
    if isinstance(optimizer, rules.AdamaxRule):
        return each("exp_avg", "exp_inf")
    if isinstance(optimizer, rules.AdadeltaRule):
        return each("square_avg", "acc_delta")
    if isinstance(optimizer, rules.AdagradRule):
        return each("sum")
    if isinstance(optimizer, rules.LionRule):
        return each("exp_avg")
    if isinstance(optimizer, rules.RMSpropRule):
        momentum = each("momentum_buffer") if group["momentum"] else []
        return [*each("square_avg"), *momentum, *(each("grad_avg") if group["centered"] else [])]
    return []


def iterations(optimizer: torch.optim.Optimizer) -> int:
    """How many steps were made."""
    return int(max(group.get("iterations", 0) for group in optimizer.param_groups))


def values(optimizer: rules.Rule, slots: list[Slot]) -> list[tuple[Slot, torch.Tensor]]:
    """Each slot with its tensor, in torch's layout; before the first step as it begins."""
    found = []
    for slot in slots:
        parameter = slot.parameter
        if parameter is None:
            states = [state for state in optimizer.state.values() if slot.name in state]
            found.append((slot, states[0][slot.name] if states else torch.tensor(1.0)))
            continue
        state = optimizer.state.get(parameter) or optimizer.initial_state(parameter, optimizer.param_groups[0])
        found.append((slot, state[slot.name] * slot.sign if slot.sign != 1 else state[slot.name]))
    return found


@torch.no_grad()
def put(optimizer: rules.Rule, slots: list[tuple[Slot, torch.Tensor]], steps: int) -> None:
    """Set the states from tensors of torch's layout, after so many steps; none means a new optimizer."""
    if steps == 0:
        return
    shared: dict[str, Any] = {slot.name: tensor for slot, tensor in slots if slot.parameter is None}
    group_of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for slot, tensor in slots:
        if slot.parameter is None:
            continue
        state = optimizer.state[slot.parameter]
        if not state:
            state.update(optimizer.initial_state(slot.parameter, group_of[id(slot.parameter)]))
        state[slot.name].copy_(tensor * slot.sign if slot.sign != 1 else tensor)
        if "step" in state:
            state["step"].fill_(steps)
        for name, value in shared.items():
            state[name].copy_(value)
    for group in optimizer.param_groups:
        group["iterations"] = steps
