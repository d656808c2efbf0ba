"""Generated kernels beside the plain evaluator."""

import copy
import pickle
import shutil

import pytest
import torch
from torch import nn

import penalize
from penalize.errors import ArgumentError
from penalize.evaluation import fused, weight_losses
from penalize.evaluation.chunks import SMALL
from penalize.regularizers import L1, L1L2, L2, OrthogonalRegularizer

SHAPES = [(SMALL // 64 + 1, 64), (3, 5), (5,), (SMALL + 7,), (130, 131)]

# torch's own, when its compiler is first imported.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")

needs_compiler = pytest.mark.skipif(shutil.which("c++") is None and shutil.which("g++") is None, reason="no compiler")


def model_and_penalties(dtype):
    torch.manual_seed(0)
    model = nn.ParameterList([torch.randn(shape, dtype=dtype) for shape in SHAPES])
    with torch.no_grad():
        model[0].view(-1)[::3] = 0.0
    rules = {"0": L1L2(0.1, 0.2), "1": L2(0.3), "2": L1(0.4), "3": L1(0.5), "4": OrthogonalRegularizer(0.6)}
    return model, penalize.attach(model, weights=rules)


def plain(penalties, parameters):
    value = sum(value.double() for _, value in weight_losses(penalties._fused.targets))
    return value.item(), torch.autograd.grad(value, parameters)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_as_the_plain_evaluator_in_both_modes(dtype):
    close = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 1e-2}[dtype]
    model, penalties = model_and_penalties(dtype)
    parameters = list(model.parameters())
    assert penalties.compile() is penalties
    for strength in (0.1, 0.7):
        penalties["0"].regularizer.l1 = strength
        value, gradients = plain(penalties, parameters)
        loss = penalties.loss()
        assert loss.item() == pytest.approx(value, rel=max(close, 1e-6) if dtype != torch.float64 else close)
        for factor in (1.0, 3.0):
            found = torch.autograd.grad(factor * loss, parameters, retain_graph=True)
            for mine, other in zip(found, gradients, strict=True):
                torch.testing.assert_close(mine, factor * other, rtol=close, atol=close)
        optimizer = torch.optim.SGD(parameters, lr=0.0)
        optimizer.zero_grad()
        penalties.bind(optimizer)
        optimizer.step()
        for parameter, other in zip(parameters, gradients, strict=True):
            torch.testing.assert_close(parameter.grad, other, rtol=close, atol=close)
        penalties.unbind()
        first, second = (torch.optim.SGD(half, lr=0.0) for half in (parameters[:2], parameters[2:]))
        first.zero_grad(), second.zero_grad()
        penalties.bind(first, second)
        first.step(), second.step()
        for parameter, other in zip(parameters, gradients, strict=True):
            torch.testing.assert_close(parameter.grad, other, rtol=close, atol=close)
        penalties.unbind()


@needs_compiler
def test_backward_twice_and_second_derivatives():
    model, penalties = model_and_penalties(torch.float64)
    parameters = list(model.parameters())
    penalties.compile()
    _, gradients = plain(penalties, parameters)
    loss = penalties.loss() + sum(parameter.square().sum() for parameter in parameters)
    for times in (1, 2):
        loss.backward(retain_graph=True)
        for parameter, other in zip(parameters, gradients, strict=True):
            torch.testing.assert_close(parameter.grad, times * (other + 2 * parameter.detach()))
    (gradient,) = torch.autograd.grad(penalties.loss(), parameters[0], create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), parameters[0])
    torch.testing.assert_close(second, torch.full_like(second, 2 * 0.2))


@needs_compiler
def test_copies_and_pickles_generate_for_themselves():
    model, penalties = model_and_penalties(torch.float64)
    penalties.compile()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        (own,) = penalize.attached(other)
        with torch.no_grad():
            other[0].mul_(2)
        value, _ = plain(own, list(other.parameters()))
        assert own.loss().item() == pytest.approx(value)
        assert value > penalties.value()


def test_where_no_kernel_can_be_generated_the_penalties_go_on_as_before(monkeypatch):
    _, penalties = model_and_penalties(torch.float32)
    before = penalties.loss().item()

    class Broken:
        def add_gradients(self, *args):
            raise RuntimeError("there is no C++ compiler")

    monkeypatch.setattr(fused, "Kernels", Broken)
    with pytest.raises(
        ArgumentError, match=r"compile\(\): torch.compile generates no kernel for cpu: there is no C\+\+"
    ):
        penalties.compile()
    assert penalties.loss().item() == before
