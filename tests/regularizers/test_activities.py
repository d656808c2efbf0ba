"""KLSparsity and Decorrelation: penalties of a whole batch, which are not divided by its size."""

import math

import pytest
import torch
from torch import nn

import penalize
from penalize.errors import ArgumentError, PenaltyError, ShapeError
from penalize.regularizers import L1, Decorrelation, KLSparsity
from penalize.regularizers.penalty import activity_penalty


@pytest.mark.parametrize("regularizer", [KLSparsity(0.3), Decorrelation(0.3)])
@pytest.mark.parametrize("in_autocast", [False, True])
def test_the_penalty_of_an_output_is_the_formula(regularizer, in_autocast):
    activity = torch.rand(7, 5)
    with torch.autocast("cpu", torch.bfloat16, enabled=in_autocast):
        paid = activity_penalty(regularizer, activity, "out")
    assert float(paid) == pytest.approx(float(regularizer(activity)))
    assert float(activity_penalty(L1(0.3), activity, "out")) == pytest.approx(float(L1(0.3)(activity)) / 7)
    assert float(activity_penalty(regularizer, activity[:0], "out")) == 0


@pytest.mark.parametrize("regularizer", [KLSparsity(0.3), Decorrelation(0.3)])
def test_twice_the_same_batch_costs_the_same(regularizer):
    activity = torch.rand(6, 4, dtype=torch.float64)
    assert float(regularizer(activity.repeat(2, 1))) == pytest.approx(float(regularizer(activity)))


@pytest.mark.parametrize("regularizer", [KLSparsity(0.3), Decorrelation(0.3)])
def test_in_layers_and_attached(regularizer):
    layer = penalize.layers.Dense(3, activation="sigmoid", activity_regularizer=regularizer)
    output = layer(torch.randn(8, 4))
    assert float(layer.losses[0].detach()) == pytest.approx(float(regularizer(output.detach())), rel=1e-5)
    model = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid())
    penalties = penalize.attach(model, activity={"1": regularizer})
    output = model(torch.randn(8, 4))
    assert float(penalties.loss().detach()) == pytest.approx(float(regularizer(output.detach())), rel=1e-5)


def test_kl_sparsity_is_least_at_its_target():
    at, off = torch.full((4, 2), 0.2, dtype=torch.float64), torch.full((4, 2), 0.3, dtype=torch.float64)
    assert float(KLSparsity(1.0, target=0.2)(at)) == pytest.approx(0, abs=1e-15)
    expected = 2 * (0.2 * math.log(0.2 / 0.3) + 0.8 * math.log(0.8 / 0.7))
    assert float(KLSparsity(1.0, target=0.2)(off)) == pytest.approx(expected)


def test_kl_sparsity_over_the_places_of_images():
    images = torch.rand(2, 3, 4, 4)
    channels = images.permute(0, 2, 3, 1).reshape(-1, 3)
    assert float(KLSparsity(1.0, axis=(0, 2, 3))(images)) == pytest.approx(float(KLSparsity(1.0)(channels)))


def test_saturated_units_have_a_finite_penalty():
    for value in (0.0, 1.0):
        x = torch.full((3, 2), value, requires_grad=True)
        penalty = KLSparsity(1.0)(x)
        penalty.backward()
        assert math.isfinite(float(penalty.detach()))
        assert torch.isfinite(x.grad).all()


def test_averages_that_are_no_shares_are_refused_at_the_first_call():
    model = nn.Sequential(nn.Identity())
    penalize.attach(model, activity={"0": KLSparsity()})
    with pytest.raises(PenaltyError, match="0: the regularizer KLSparsity must return one real number, got NaN"):
        model(torch.full((3, 2), 1.5))


@pytest.mark.parametrize("bad", [0, 1, 1.0, -0.1, float("nan"), True, "0.1", None])
def test_bad_targets_are_refused(bad):
    with pytest.raises(ArgumentError, match="target must be a number between 0 and 1, got"):
        KLSparsity(target=bad)


def test_bad_axes_are_refused():
    with pytest.raises(ArgumentError, match="axis must be an integer or a tuple of distinct integers, got None"):
        KLSparsity(axis=None)
    with pytest.raises(ShapeError, match="KLSparsity takes a tensor that has the axis 3"):
        KLSparsity(axis=3)(torch.rand(2, 2))


def test_decorrelated_units_cost_nothing():
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert float(Decorrelation(1.0)(x)) == 0
    assert float(Decorrelation(1.0)(x[:1])) == 0
    together = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    assert float(Decorrelation(1.0)(together)) == 1.0
