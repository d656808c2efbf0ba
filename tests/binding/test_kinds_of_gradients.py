"""Gradients that an optimizer can read, but to which nothing can be added in place, or which have another dtype."""

import pytest
import torch
from torch import nn

from penalize import attach
from penalize.regularizers import L2


def made_in_inference_mode(weight):
    with torch.inference_mode():
        return torch.ones_like(weight)


KINDS = {
    "none": lambda weight: None,
    "of one number": lambda weight: torch.ones((), dtype=weight.dtype).expand(weight.shape),
    "of one row": lambda weight: torch.randn(1, 4).to(weight.dtype).expand(weight.shape),
    "overlapping": lambda weight: torch.randn(6).to(weight.dtype).unfold(0, 4, 1),
    "transposed": lambda weight: torch.randn(4, 3).to(weight.dtype).t(),
    "negated": lambda weight: torch._neg_view(torch.randn(3, 4).to(weight.dtype)),
    "zeros without memory": lambda weight: torch._efficientzerotensor(weight.shape, dtype=weight.dtype),
    "with a graph": lambda weight: torch.randn(3, 4, requires_grad=True).to(weight.dtype) * 2,
    "of inference mode": made_in_inference_mode,
}


@pytest.mark.parametrize("ahead", [False, True], ids=["step", "backward"])
@pytest.mark.parametrize("regularizer", [L2(1.0), lambda w: w.square().sum()], ids=["fused", "other"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_penalties_are_added_to_them(kind, dtype, regularizer, ahead):
    model = nn.Linear(4, 3, bias=False).to(dtype)
    model.weight.grad = kind(model.weight)
    before = 0 if model.weight.grad is None else model.weight.grad.detach().clone().float()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    penalties = attach(model, weights={"weight": regularizer}).bind(optimizer)
    if ahead:
        penalties.backward()
    optimizer.step()
    expected = (before + 2 * model.weight.detach().float()).to(dtype)
    torch.testing.assert_close(model.weight.grad.detach(), expected)


def test_a_view_into_a_buffer_of_all_gradients_stays_there():
    model = nn.Linear(4, 3, bias=False)
    buffer = torch.zeros(3, 8)
    model.weight.grad = buffer[:, ::2]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    attach(model, weights={"weight": L2(1.0)}).bind(optimizer)
    optimizer.step()
    torch.testing.assert_close(buffer[:, ::2], 2 * model.weight.detach())
    assert not buffer[:, 1::2].any()


@pytest.mark.skipif(not hasattr(torch.Tensor, "grad_dtype"), reason="of newer versions of torch")
@pytest.mark.parametrize("regularizer", [L2(1.0), lambda w: w.square().sum()], ids=["fused", "other"])
@pytest.mark.parametrize("held", [torch.float32, None], ids=str)
@pytest.mark.parametrize("given", [False, True])
def test_gradients_of_another_dtype(regularizer, held, given):
    model = nn.Linear(4, 3, bias=False).to(torch.bfloat16)
    model.weight.grad_dtype = held
    if given:
        model.weight.grad = torch.zeros(3, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    attach(model, weights={"weight": regularizer}).bind(optimizer).backward()
    assert model.weight.grad.dtype == (torch.float32 if given or held else torch.bfloat16)
    torch.testing.assert_close(model.weight.grad.float(), 2 * model.weight.detach().float())
