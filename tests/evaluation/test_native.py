"""The compiled library: that it is there, and that it is asked for nothing that it cannot do."""

import sys

import pytest
import torch
from torch import nn

import penalize
from penalize.evaluation import native
from penalize.evaluation.elementwise import Strengthened
from penalize.evaluation.native import kernels_for, memory_of, numbers
from penalize.regularizers import L1L2, L2

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the library is made on Linux")


def test_the_installation_made_it():
    assert native._LOADED is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_each_value_is_worked_on_once_by_any_number_of_threads(dtype, threads):
    sizes = [0, 1, 15, 2**14, 2**14 + 1, 2**16 + 17, 100_003]
    x = [torch.randn(size, dtype=dtype) for size in sizes]
    l1, l2 = [0.1 * k for k in range(7)], [0.3 * (6 - k) for k in range(7)]
    there, memory = kernels_for(x[0]), memory_of(x, dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        gradients = [torch.full_like(each, 2.0) for each in x]
        there.add_gradients(gradients, memory.beside(gradients), memory, numbers(l1), numbers(l2))
        expected = [a * torch.sign(each) + 2 * b * each for a, b, each in zip(l1, l2, x, strict=True)]
        for got, other in zip(gradients, expected, strict=True):
            torch.testing.assert_close(got, 2 + other)
        written = [torch.full_like(each, torch.nan) for each in x]
        value = there.value(memory.beside(written), memory, numbers(l1), numbers(l2))
        wide = [each.double() for each in x]
        by_hand = sum(a * each.abs().sum() + b * each.square().sum() for a, b, each in zip(l1, l2, wide, strict=True))
        assert value == pytest.approx(by_hand.item(), rel=1e-6 if dtype == torch.float32 else 1e-13)
        assert there.value(None, memory, numbers(l1), numbers(l2)) == value
        for got, other in zip(written, expected, strict=True):
            torch.testing.assert_close(got, other)
        there.write_gradients(memory.beside(written), memory, numbers(l1), numbers(l2), -3.0)
        for got, other in zip(written, expected, strict=True):
            torch.testing.assert_close(got, -3 * other)
    finally:
        torch.set_num_threads(before)


def test_a_float32_sum_of_millions_is_exact_to_float32():
    x = torch.full((3_000_000,), 0.1)
    value = kernels_for(x).value(None, memory_of([x], x.dtype), numbers([1.0]), numbers([0.0]))
    assert value == pytest.approx(3_000_000 * float(torch.tensor(0.1)), rel=3e-7)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), -0.0, 1e-45])
@pytest.mark.parametrize("strengths", [(0.3, 0.2), (0.3, 0.0), (0.0, 0.2), (0.0, 0.0)])
def test_special_numbers_are_what_the_operations_make_of_them(number, strengths):
    weight = torch.tensor([number, 1.0, number])
    with_library, without = (Strengthened([strengths[0]], [strengths[1]], [weight]) for _ in range(2))
    without.kernels = None
    found, expected = torch.ones(3), torch.ones(3)
    with_library.add_gradients([found], [weight], with_library.memory.beside([found]))
    without.add_gradients([expected], [weight], None)
    torch.testing.assert_close(found, expected, equal_nan=True)
    value, other = (each.forward([weight], False)[0] for each in (with_library, without))
    torch.testing.assert_close(value, other, equal_nan=True)


@pytest.mark.parametrize("squares", [False, True])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e-45])
def test_special_numbers_are_shrunk_as_by_the_operations(number, squares):
    from penalize.evaluation.shrinking import Shrinking, StepSizes, shrink_

    sizes = StepSizes(0.1, torch.full((3,), 0.25) if squares else None, outside=1e-8)
    weights = [torch.tensor([number, 1.0, -number]) for _ in range(2)]
    Shrinking(weights[:1], [(0.3, 0.2)]).take({0: sizes})
    shrink_(weights[1], sizes, 0.3, 0.2)
    torch.testing.assert_close(*weights, equal_nan=True)


def test_what_the_library_cannot_work_on_is_not_handed_to_it():
    x = torch.ones(4, 3)
    memory = memory_of([x], torch.float32)
    assert memory.hold([x])
    assert not memory.hold([torch.ones(4, 3)])
    assert not memory.hold([x[:2]])
    assert not memory.hold([x.as_strided((4, 3), (1, 4))])
    assert memory.beside([torch.ones(4, 3)]) is not None
    own = nn.Parameter(x).as_subclass(type("Own", (torch.Tensor,), {}))
    negated = torch._neg_view(torch.ones(4, 3))
    nowhere = torch._efficientzerotensor(4, 3)
    for other in (torch.ones(3, 4).t(), torch.ones(4, 2), x.to("meta"), own, negated, nowhere, x.to_sparse()):
        assert memory.beside([other]) is None
    for other in (torch.ones(3, 4).t(), x.double(), x.to("meta"), own, negated, nowhere, x.to_sparse()):
        assert memory_of([other], torch.float32) is None
    assert memory.beside([x.double()]) is None
    assert memory_of([torch.ones(0)], torch.float32).beside([torch.ones(0)]) is not None


def test_a_weight_that_was_given_other_data_is_worked_on_as_it_is():
    """Its plan was made for another size: nothing may be read past the end."""
    model = nn.Linear(100, 100, bias=False)
    penalties = penalize.attach(model, weights={"weight": L1L2(0.1, 0.2)})
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    penalties.bind(optimizer)
    model(torch.ones(1, 100)).sum().backward()
    optimizer.step()
    model.weight.grad = None
    model.weight.data = torch.ones(2, 3)
    model.weight.grad = torch.zeros(2, 3)
    optimizer.step()
    torch.testing.assert_close(model.weight.detach(), torch.full((2, 3), 1 - 0.5))


@pytest.mark.parametrize("by", ["one optimizer", "two optimizers", "proximal steps"])
def test_weights_that_move_between_steps_are_followed(by):
    """Also those of an optimizer whose weights lie well, beside others that the library cannot work on."""
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight.data = torch.ones(2, 2).t().contiguous().t()
    penalties = penalize.attach(model, weights={"*": "l2", "0.weight": L2(0.25)})
    if by == "two optimizers":
        optimizers = [torch.optim.SGD(part.parameters(), lr=1.0) for part in model]
    else:
        optimizers = [torch.optim.SGD(model.parameters(), lr=1.0)]
    penalties.bind(*optimizers, proximal=by == "proximal steps")
    for shape in ((2, 3), (1, 3), (40, 50), (2, 3)):
        before = torch.randn(shape)
        model[0].weight.grad = None
        model[0].weight.data = before.clone()
        model[0].weight.grad = torch.zeros(shape)
        model[1].weight.grad = torch.zeros(2, 2)
        for optimizer in optimizers:
            optimizer.step()
        expected = before / 1.5 if by == "proximal steps" else before - 0.5 * before
        torch.testing.assert_close(model[0].weight.detach(), expected)


def test_new_tensors_that_the_library_cannot_write_are_made_by_operations(monkeypatch):
    """As under a mode that makes other tensors than plain ones: nothing is left unwritten, or written nowhere."""
    weight = torch.tensor([1.0, -2.0])
    strengthened = Strengthened([0.1], [0.2], [weight])
    monkeypatch.setattr(native.Memory, "of_new", lambda self, tensors: None)
    value, gradients = strengthened.forward([weight], True)
    assert value.item() == pytest.approx(0.3 + 1.0)
    assert gradients is None
    (found,) = strengthened.gradients([weight], torch.tensor(2.0))
    torch.testing.assert_close(found, 2 * torch.tensor([0.1 + 0.4, -0.1 - 0.8]))


def test_what_is_changed_in_place_counts_as_changed():
    """Autograd refuses a graph whose weights were changed by a proximal step."""
    model = nn.Linear(3, 1, bias=False)
    penalties = penalize.attach(model, weights={"weight": "l1"})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    penalties.bind(optimizer, proximal=True)
    model.weight.grad = torch.zeros_like(model.weight)
    before = model.weight._version
    optimizer.step()
    assert model.weight._version >= before + 2
    gradient = torch.zeros_like(model.weight)
    strengthened = Strengthened([0.1], [0.0], [model.weight])
    strengthened.add_gradients([gradient], [model.weight], strengthened.memory.beside([gradient]))
    assert gradient._version == 1


def test_without_it_the_operations_do_the_work(monkeypatch):
    monkeypatch.setattr(native, "_LOADED", None)
    assert kernels_for(torch.ones(3)) is None
    model = nn.Linear(3, 2)
    penalties = penalize.attach(model, weights={"weight": L1L2(0.1, 0.2)})
    weight = model.weight.detach()
    assert penalties.loss().item() == pytest.approx((0.1 * weight.abs() + 0.2 * weight.square()).sum().item())
