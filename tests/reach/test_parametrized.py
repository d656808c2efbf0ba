"""Weights that modules compute from others: the penalty is that of the effective weight, under its plain name."""

import pytest
import torch
from tests.reach.by_hand import CLOSE, batches, difference
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import penalize
from penalize import layers
from penalize.errors import BindError, TargetError
from penalize.regularizers import L1, L1L2, L2, OrthogonalRegularizer


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).T

    def right_inverse(self, x):
        return x.triu()


def pruned(module):
    return prune.l1_unstructured(module, "weight", 0.5)


def symmetric(module):
    return parametrize.register_parametrization(module, "weight", Symmetric())


def taken_off(module):
    if parametrize.is_parametrized(module):
        parametrize.remove_parametrizations(module, "weight")
    else:
        prune.remove(module, "weight")


WAYS = {
    "weight_norm": parametrizations.weight_norm,
    "orthogonal": parametrizations.orthogonal,
    "spectral_norm": parametrizations.spectral_norm,
    "own": symmetric,
    "pruned": pruned,
}
kinds = pytest.mark.parametrize("way", WAYS)


def made(way=None):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    if way is not None:
        WAYS[way](model[0])
    return model


@pytest.mark.parametrize("when", ["before", "after"])
@kinds
def test_training_is_as_by_hand(way, when):
    """Parametrized before attaching, or after."""
    plain = made(way)
    if when == "before":
        model = made(way)
        penalties = penalize.attach(model, weights={"0.weight": L1L2(0.02, 0.03), "0.bias": L2(0.1)})
    else:
        model = made()
        penalties = penalize.attach(model, weights={"0.weight": L1L2(0.02, 0.03), "0.bias": L2(0.1)})
        WAYS[way](model[0])
    assert list(model.state_dict()) == list(plain.state_dict())
    for number, x in enumerate(batches()):
        loss = model(x).square().mean() + penalties.loss()
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with parametrize.cached():
            output = plain(x)
            weight = plain[0].weight
            paid = 0.02 * weight.abs().sum() + 0.03 * weight.square().sum() + 0.1 * plain[0].bias.square().sum()
        expected = torch.autograd.grad(output.square().mean() + paid, list(plain.parameters()))
        assert abs(penalties.value() / paid.item() - 1) < CLOSE
        assert difference(gradients, expected) < CLOSE, number
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter -= 0.05 * gradient
            for parameter, gradient in zip(plain.parameters(), expected, strict=True):
                parameter -= 0.05 * gradient
    assert difference(model.parameters(), plain.parameters()) < CLOSE
    assert difference(model.state_dict().values(), plain.state_dict().values()) < CLOSE


@kinds
def test_value_is_that_of_the_weights_after_a_step(way):
    """Also before the model is called again, which is when pruning sets the attribute anew."""
    model = made(way)
    penalties = penalize.attach(model, weights={"0.weight": L1(0.1)})
    model(torch.ones(2, 4).double())
    with torch.no_grad():
        for parameter in model[0].parameters():
            parameter.mul_(1.5)
    value = penalties.value()
    model.eval()(torch.ones(2, 4).double())
    assert value == pytest.approx(0.1 * model[0].weight.abs().sum().item(), rel=1e-12)


@kinds
def test_looking_changes_nothing(way):
    model = made(way)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    penalties = penalize.attach(model, weights={"0.weight": L1(0.1)})
    first = penalties.value()
    penalties.report()
    assert penalties.loss().item() == penalties.value() == first
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("0.weight", ["0.weight"]),
        ("*weight", ["0.weight", "2.weight"]),
        ("*", ["0.bias", "0.weight", "2.bias", "2.weight"]),
        (nn.Linear, ["0.bias", "0.weight", "2.bias", "2.weight"]),
        (lambda name, parameter: parameter.ndim == 2 and name.startswith("0.w"), ["0.weight"]),
        ("*original0", ["0.parametrizations.weight.original0"]),
        ("0.param*", ["0.parametrizations.weight.original0", "0.parametrizations.weight.original1"]),
    ],
    ids=["name", "glob", "all", "class", "predicate", "part", "parts"],
)
def test_what_a_key_means(key, expected):
    """The weight, and not also what it is computed from, unless the key matches that alone."""
    assert sorted(penalize.attach(made("weight_norm"), weights={key: L1(0.1)})) == expected


@kinds
def test_taking_a_parametrization_off_leaves_the_penalty_on_the_weight(way):
    model = made(way)
    penalties = penalize.attach(model, weights={"0.weight": L1(0.1)})
    model.eval()
    taken_off(model[0])
    expected = 0.1 * model[0].weight.abs().sum()
    assert penalties.loss().item() == pytest.approx(expected.item(), rel=1e-12)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    before = model[0].weight.detach().clone()
    penalties.bind(optimizer)
    optimizer.step()
    torch.testing.assert_close(model[0].weight.detach(), before - 0.1 * before.sign())


@pytest.mark.parametrize("way", ["weight_norm", "pruned"])
def test_penalties_of_the_parts_are_refused_by_name_once_these_are_gone(way):
    model = made(way)
    key = "0.weight_orig" if way == "pruned" else "0.parametrizations.weight.original0"
    penalties = penalize.attach(model, weights={key: L1(0.1)})
    taken_off(model[0])
    with pytest.raises(TargetError, match=rf"^{key}: .*detach\(\) and attach\(\) again"):
        penalties.loss()


@pytest.mark.parametrize("when", ["before", "after"])
@kinds
def test_bound_penalties_are_refused_by_name(way, when):
    model = made(way if when == "before" else None)
    penalties = penalize.attach(model, weights={"0.weight": L1(0.1)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    message = r"^0.weight: the module computes this weight from others.*use loss\(\) instead of bind\(\)"
    if when == "after":
        penalties.bind(optimizer)
        WAYS[way](model[0])
        with pytest.raises(BindError, match=message):
            optimizer.step()
    else:
        with pytest.raises(BindError, match=message):
            penalties.bind(optimizer)


def test_bound_penalties_of_the_parts_are_right():
    model = made("weight_norm")
    penalties = penalize.attach(model, weights={"0.*original1": L2(0.1)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    penalties.bind(optimizer)
    before = model[0].parametrizations.weight.original1.detach().clone()
    optimizer.step()
    torch.testing.assert_close(model[0].parametrizations.weight.original1.detach(), 0.9 * before)


@kinds
def test_frozen_parts_pay_nothing(way):
    model = made(way)
    penalties = penalize.attach(model, weights={"0.weight": L1(0.1), "2.weight": L2(0.1)})
    model[0].requires_grad_(False)
    assert penalties.value() == pytest.approx(0.1 * model[2].weight.square().sum().item())


@pytest.mark.parametrize("way", ["weight_norm", "spectral_norm", "own"])
def test_layers_see_the_effective_weight_in_keras_layout(way):
    torch.manual_seed(0)
    layer = layers.Dense(4, kernel_regularizer=OrthogonalRegularizer(0.3, mode="rows"), dtype="float64")
    layer.build((None, 4))
    penalties = penalize.attach(layer)
    WAYS[way](layer)
    layer.eval()
    afterwards = penalize.attach(layer)
    kernel = layer.weight.detach().T
    rows = kernel / kernel.norm(dim=1, keepdim=True)
    expected = 0.3 * (rows @ rows.T).triu(1).abs().sum() / 6
    for value in (penalties.loss(), afterwards.loss(), *layer.losses):
        assert value.item() == pytest.approx(expected.item(), rel=1e-12)
        assert value.requires_grad
    assert len(layer.losses) == 1


def test_plans_name_the_effective_weight():
    model = made("weight_norm")
    text = penalize.attach(model, weights={"0.weight": L1(0.1)}).to_json()
    assert list(penalize.Penalties.from_json(made("orthogonal"), text)) == ["0.weight"]
    assert list(penalize.Penalties.from_json(made(), text)) == ["0.weight"]


@kinds
def test_compiled(way):
    torch.compiler.reset()
    model = made(way)
    penalties = penalize.attach(model, weights={"0.weight": L1(0.1)})
    model.eval()
    compiled = torch.compile(penalties.loss, backend="eager", fullgraph=True)
    assert compiled().item() == pytest.approx(penalties.loss().item(), rel=1e-12)
    torch.compiler.reset()
