"""L1L2 gradients added to 25 million parameters, over one `torch._foreach_add_` of them."""

from __future__ import annotations

import torch
from torch import nn

import penalize
from benchmarks.timing import by_turns, print_ratios
from penalize.binding.gradients import Share
from penalize.regularizers import L1L2


def main() -> None:
    """Print the table."""
    torch.manual_seed(0)
    model = nn.ModuleList([nn.Linear(2500, 2500, bias=False) for _ in range(4)])
    parameters = list(model.parameters())
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in parameters]
    optimizer = torch.optim.SGD(parameters, lr=0.0)
    penalties = penalize.attach(model, weights={"*": L1L2(1e-5, 1e-4)})
    share = Share(optimizer, penalties._fused)

    @torch.no_grad()
    def add() -> None:
        torch._foreach_add_(gradients, parameters)

    def penalize_() -> None:
        share.add(penalties._fused.current())

    ways = {"foreach add": add, "L1L2 gradients": penalize_}
    print_ratios("gradients of L1L2 added to 25 million parameters", by_turns(ways, 15, 3), "foreach add")
