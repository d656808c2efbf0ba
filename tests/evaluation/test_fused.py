"""The fast evaluator beside the plain one: values, gradients and steps on models of all kinds."""

import copy
import random

import pytest
import torch
from torch import nn

import penalize
from penalize.errors import BindError
from penalize.evaluation import weight_losses
from penalize.evaluation.elementwise import Strengthened
from penalize.regularizers import L1, L1L2, L2, OrthogonalRegularizer

SIZES = [(), (0,), (1,), (7,), (3, 5), (4, 1, 3), (64, 64), (2**14,), (2**14 + 1,), (2**17 + 5,), (3, 2**17)]


class Bag(nn.Module):
    def __init__(self, tensors):
        super().__init__()
        for index, tensor in enumerate(tensors):
            setattr(self, f"w{index}", nn.Parameter(tensor))


def some_regularizer(rng):
    return rng.choice(
        [
            L1(rng.choice([0.0, 0.3])),
            L2(rng.choice([0.0, 0.2, 0.7])),
            L1L2(rng.choice([0.0, 0.3]), rng.choice([0.0, 0.2])),
            lambda w: (w**4).sum(),
            L1(torch.tensor(0.4)),
        ]
    )


def some_model(seed, dtypes=(torch.float32, torch.float64)):
    rng = random.Random(seed)
    torch.manual_seed(seed)
    tensors = [torch.randn(rng.choice(SIZES), dtype=rng.choice(dtypes)) for _ in range(rng.randint(1, 9))]
    for tensor in tensors:
        if tensor.numel():
            tensor.view(-1)[0] = 0.0
    model = Bag(tensors)
    if rng.random() < 0.4:
        model.shared = model.w0
    if rng.random() < 0.4 and len(tensors) > 1:
        next(iter(model.parameters())).requires_grad_(False)
    if rng.random() < 0.3:
        model.turned = nn.Parameter(torch.randn(6, 4).t())
    rules = {name: some_regularizer(rng) for name, _ in model.named_parameters()}
    return model, penalize.attach(model, weights=rules)


def plain(model, penalties):
    """The value and the gradients of the plain evaluator, by autograd."""
    value = sum((v.double() for _, v in weight_losses(penalties._fused.targets)), torch.zeros((), dtype=torch.float64))
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not value.requires_grad:
        return value.item(), [torch.zeros_like(p) for p in parameters]
    found = torch.autograd.grad(value, parameters, allow_unused=True)
    return value.item(), [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]


def close(got, expected):
    for mine, other in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("seed", range(40))
def test_values_and_gradients_are_those_of_the_plain_evaluator(seed):
    model, penalties = some_model(seed)
    value, gradients = plain(model, penalties)
    loss = penalties.loss()
    assert loss.item() == pytest.approx(value, rel=2e-6, abs=1e-6)
    parameters = [p for p in model.parameters() if p.requires_grad]
    if loss.requires_grad:
        found = torch.autograd.grad(3 * loss, parameters, allow_unused=True)
        close([torch.zeros_like(p) if g is None else g / 3 for g, p in zip(found, parameters, strict=True)], gradients)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter) if random.Random(seed).random() < 0.5 else None
    before = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    penalties.bind(optimizer)
    optimizer.step()
    after = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    close([a - b for a, b in zip(after, before, strict=True)], gradients)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("seed", range(4))
def test_half_precision_is_summed_in_float32(dtype, seed):
    model, penalties = some_model(seed, (dtype, torch.float32))
    value, gradients = plain(model, penalties)
    loss = penalties.loss()
    assert loss.item() == pytest.approx(value, rel=1e-5, abs=1e-6)
    parameters = [p for p in model.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    for got, expected in zip(found, gradients, strict=True):
        if got is not None:
            torch.testing.assert_close(got, expected, rtol=2e-2, atol=1e-3)


def test_whatever_changes_between_steps_counts_at_the_next():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    penalties = penalize.attach(model, weights={"*.weight": L1L2(0.1, 0.2), "*.bias": L2(0.3)})

    def check():
        value, _ = plain(model, penalties)
        assert penalties.loss().item() == pytest.approx(value, rel=1e-6)
        return value

    seen = {check()}
    penalties["0.weight"].regularizer = L1(0.7)
    seen.add(check())
    penalties["1.bias"].strength = 0.9
    seen.add(check())
    penalties["1.weight"].regularizer.l2 = 0.0
    seen.add(check())
    model[0].weight.requires_grad_(False)
    seen.add(check())
    model[0].weight.requires_grad_(True)
    model[1].weight = nn.Parameter(torch.ones(2, 4))
    seen.add(check())
    model[1].weight.data = torch.full((2, 4), 5.0)
    seen.add(check())
    penalties["0.weight"].regularizer = None
    seen.add(check())
    penalties["0.weight"].regularizer = OrthogonalRegularizer(0.4)
    seen.add(check())
    penalties["0.weight"].regularizer = L2(torch.tensor(0.5))
    seen.add(check())
    penalties["0.weight"].regularizer.l2.fill_(2.0)
    seen.add(check())
    model.double()
    seen.add(check())
    assert len(seen) == 12
    model[0] = nn.Linear(3, 4)
    with pytest.raises(penalize.errors.TargetError, match=r"0\.\w+: its module was replaced or removed"):
        penalties.loss()


def test_a_computed_weight_that_is_unfrozen_pays_from_then_on():
    model = nn.Linear(3, 2)
    torch.nn.utils.parametrizations.weight_norm(model)
    parts = list(model.parametrizations.weight.parameters())
    for part in parts:
        part.requires_grad_(False)
    penalties = penalize.attach(model, weights={"weight": L2(0.5)})
    assert penalties.loss().item() == 0
    parts[1].requires_grad_(True)
    assert penalties.loss().item() == pytest.approx(0.5 * model.weight.square().sum().item())
    penalties.loss().backward()
    assert parts[1].grad is not None
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(BindError, match="^weight: the module computes this weight from others"):
        penalties.bind(optimizer)
    parts[1].requires_grad_(False)
    penalties.bind(optimizer)
    optimizer.step()
    parts[1].requires_grad_(True)
    with pytest.raises(BindError, match="^weight: the module computes this weight from others"):
        optimizer.step()


def test_a_strength_that_becomes_a_tensor_of_the_same_value_is_trained():
    model = nn.Linear(3, 2)
    regularizer = L2(0.5)
    penalties = penalize.attach(model, weights={"weight": regularizer})
    penalties.loss()
    strength = torch.tensor(0.5, requires_grad=True)
    regularizer.l2 = strength
    penalties.loss().backward()
    assert strength.grad.item() == pytest.approx(model.weight.square().sum().item())


@pytest.mark.parametrize(
    "other",
    [
        lambda data: data.view(torch.float64),
        lambda data: data.view(torch.bfloat16).view(4, 8),
        torch._neg_view,
        lambda data: data[:, :2],
        lambda data: data[:2],
        lambda data: data.view(2, 8).t(),
    ],
    ids=["wider", "narrower", "negated", "columns", "rows", "transposed"],
)
def test_other_data_at_the_same_place_is_what_counts(other):
    model = nn.Linear(4, 4, bias=False)
    penalties = penalize.attach(model, weights={"weight": L1L2(0.5, 0.25)})
    penalties.loss()
    model.weight.data.copy_(torch.tensor([1.0, -2.0, 3.0, -4.0]))
    model.weight.data = other(model.weight.data)
    assert model.weight.data_ptr() == penalties._fused.plan.in_memory[0].data_ptr()
    weight = model.weight.detach().double()
    value = 0.5 * weight.abs().sum() + 0.25 * weight.square().sum()
    assert penalties.loss().item() == pytest.approx(value.item())
    penalties.loss().backward()
    torch.testing.assert_close(model.weight.grad.double(), 0.5 * weight.sign() + 0.5 * weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    penalties.bind(optimizer)
    optimizer.step()
    torch.testing.assert_close(model.weight.grad.double(), weight.sign() + weight)


def test_a_copy_plans_for_itself():
    model = nn.Linear(3, 2)
    penalties = penalize.attach(model, weights={"weight": "l2"})
    penalties.loss()
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.weight.fill_(2.0)
    assert penalize.attached(other)[0].loss().item() == pytest.approx(0.01 * 4 * 6)


def test_second_derivatives():
    model = nn.Linear(3, 2).double()
    penalties = penalize.attach(model, weights={"weight": L1L2(0.1, 0.7), "bias": L1(0.3)})
    (gradient,) = torch.autograd.grad(penalties.loss(), model.weight, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), model.weight)
    expected = 2 * (0.1 * model.weight.sign() + 1.4 * model.weight) * 1.4
    torch.testing.assert_close(second, expected.detach())


def test_many_factors_at_once():
    """The gradients of several losses in one pass, as methods take them that weigh tasks against each other."""
    model = nn.Linear(3, 2).double()
    penalties = penalize.attach(model, weights={"weight": L1L2(0.1, 0.7), "bias": L1(0.3)})
    weights = list(model.parameters())
    losses = torch.stack([penalties.loss() + model.bias.sum(), 3 * penalties.loss(), model.weight.sum()])
    found = torch.autograd.grad(losses, weights, torch.eye(3).double(), is_grads_batched=True)
    for task, factor in enumerate((1, 3, 0)):
        torch.testing.assert_close(found[0][task], factor * (0.1 * weights[0].sign() + 1.4 * weights[0]) + (task == 2))
        torch.testing.assert_close(found[1][task], factor * 0.3 * weights[1].sign() + (task == 0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_loss_is_where_the_weights_are_whatever_the_default_device(dtype):
    model = nn.Linear(3, 2).to(dtype)
    penalties = penalize.attach(model, weights={"weight": L2(0.5)})
    with torch.device("meta"):
        loss = penalties.loss()
    assert loss.device == model.weight.device
    loss.backward()
    torch.testing.assert_close(model.weight.grad, model.weight.detach())


def test_weights_of_eight_bits_are_summed_in_float32():
    model = nn.Linear(3, 2)
    model.weight = nn.Parameter(model.weight.detach().to(torch.float8_e4m3fn))
    penalties = penalize.attach(model, weights={"weight": L2(0.5), "bias": L2(0.5)})
    both = [model.weight.detach().float(), model.bias.detach()]
    assert penalties.loss().item() == pytest.approx(sum(0.5 * x.square().sum().item() for x in both))


def test_inside_transforms_of_torch_func():
    model = nn.Linear(3, 2)
    penalties = penalize.attach(model, weights={"weight": L2(0.5)})
    gradient = torch.func.grad(lambda scale: scale * penalties.loss())(torch.tensor(2.0))
    assert gradient.item() == pytest.approx(0.5 * model.weight.square().sum().item())


@pytest.mark.parametrize("seed", range(6))
def test_the_way_of_other_devices_gives_the_same(seed):
    torch.manual_seed(seed)
    tensors = [torch.randn(size) for size in ((3, 4), (7,), (2**14 + 3,), (5, 5))]
    l1, l2 = [0.1, 0.1, 0.0, 0.3], [0.2, 0.0, 0.2, 0.2]
    here = Strengthened(l1, l2, tensors)
    there = Strengthened(l1, l2, [tensor.to("meta") for tensor in tensors])
    assert here.kernels is not None
    assert there.kernels is None
    factor = torch.tensor(3.0)
    (mine, gradients), (other, none) = here.forward(tensors, True), there.forward(tensors, True)
    torch.testing.assert_close(other, mine)
    assert none is None
    close(there.gradients(tensors, factor), here.gradients(tensors, factor))
    close(there.gradients(tensors, torch.tensor(1.0)), gradients)
    ours, theirs = [[torch.ones_like(t) for t in tensors] for _ in range(2)]
    here.add_gradients(ours, tensors, here.memory.beside(ours))
    there.add_gradients(theirs, tensors, None)
    close(theirs, ours)


def test_infinite_weights_and_strengths_of_zero():
    model = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.fill_(float("inf"))
    penalties = penalize.attach(model, weights={"weight": L2(0.0)})
    assert penalties.loss().item() == 0
    penalties["weight"].regularizer = L1(1.0)
    assert penalties.loss().item() == float("inf")
