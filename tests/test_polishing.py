"""`polish`: exact supports after minibatches, and what it leaves as it was."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import penalize
from penalize.errors import ArgumentError, PenaltyError
from penalize.regularizers import L1, L2, GroupLasso, HoyerSquare
from tests.binding.lasso import Lasso

mse = nn.functional.mse_loss


@pytest.fixture(scope="module")
def lasso():
    random = np.random.default_rng(0)
    x = random.standard_normal((200, 60))
    true = random.standard_normal(60) * (np.arange(60) < 8)
    return Lasso(x, x @ true + 0.5 * random.standard_normal(200), share=0.05)


def half_squares(output, y):
    return 0.5 * (output[:, 0] - y).square().mean()


def train_on_minibatches(lasso, epochs=30):
    torch.manual_seed(0)
    model = nn.Linear(60, 1, bias=False, dtype=torch.float64)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    penalties = penalize.attach(model, weights={"weight": L1(lasso.strength)}).bind(optimizer, proximal=True)
    for _ in range(epochs):
        for rows in torch.randperm(200).split(5):
            optimizer.zero_grad()
            half_squares(model(lasso.x[rows]), lasso.y[rows]).backward()
            optimizer.step()
    lasso.model = model
    return model, penalties


@pytest.mark.parametrize("form", ["tensors", "a list of batches", "a DataLoader"])
def test_a_lasso_of_minibatches_gets_the_exact_support(lasso, form):
    model, penalties = train_on_minibatches(lasso)
    assert not lasso.support_is_exact()
    assert lasso.gap() > 1e-6
    data = {
        "tensors": (lasso.x, lasso.y),
        "a list of batches": [(lasso.x[:70], lasso.y[:70]), (lasso.x[70:], lasso.y[70:])],
        "a DataLoader": DataLoader(TensorDataset(lasso.x, lasso.y), batch_size=64),
    }[form]
    before = lasso.objective(lasso.found)
    result = penalize.polish(model, data, half_squares, tolerance=1e-12)
    assert result.converged
    assert result.steps <= 200
    assert lasso.support_is_exact()
    assert lasso.gap() <= 1e-10
    assert result.zeros == (lasso.expected == 0).sum() > result.zeros_before
    assert result.objective_before == pytest.approx(before)
    assert result.objective == pytest.approx(lasso.objective(lasso.found))
    assert lasso.objective(lasso.found) - lasso.objective(lasso.expected) <= result.gap <= 1e-12 * result.objective
    assert penalties.bound


def test_the_gap_bounds_how_far_the_objective_is_from_the_least():
    """Stopped early, from weights that are longer than their distance from the solution."""
    random = np.random.default_rng(1)
    x = random.standard_normal((50, 10))
    lasso = Lasso(x, x @ np.ones(10) + random.standard_normal(50), share=0.05)
    for steps in (1, 2, 5, 10):
        lasso.model = nn.Linear(10, 1, bias=False, dtype=torch.float64)
        nn.init.constant_(lasso.model.weight, 2.0)
        penalize.attach(lasso.model, weights={"weight": L1(lasso.strength)})
        result = penalize.polish(lasso.model, (lasso.x, lasso.y), half_squares, steps=steps, tolerance=0.0)
        assert np.linalg.norm(lasso.found - lasso.expected) <= np.linalg.norm(lasso.found)
        assert result.steps == steps
        assert not result.converged
        assert 0 < lasso.objective(lasso.found) - lasso.objective(lasso.expected) <= result.gap


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 16)
        self.norm = nn.BatchNorm1d(16)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(16, 1)

    def forward(self, x):
        return self.last(self.drop(torch.relu(self.norm(self.first(x)))))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_descends_and_keeps_its_modes_gradients_and_statistics(dtype):
    torch.manual_seed(0)
    model = Network().to(dtype)
    model.last.bias.requires_grad_(False)
    rules = {"first.weight": GroupLasso(0.02), "last.weight": HoyerSquare(1e-3), "*.bias": L2(1e-3)}
    penalties = penalize.attach(model, weights=rules, activity={"norm": L1(1e-3)})
    x = torch.randn(64, 4, dtype=dtype)
    y = x[:, :1] ** 2
    model.norm.eval()
    model.first.weight.grad = torch.ones_like(model.first.weight)
    statistics, bias = model.norm.running_mean.clone(), model.last.bias.clone()

    def objective():
        model.eval()
        with torch.no_grad():
            found = (mse(model(x), y) + penalties.loss()).item()
        model.train()
        model.norm.eval()
        return found

    values = [objective()]
    for _ in range(3):
        result = penalize.polish(model, (x, y), mse, steps=30)
        values.append(objective())
        assert result.objective_before == pytest.approx(values[-2], rel=1e-5)
        assert result.objective == pytest.approx(values[-1], rel=1e-5)
        assert result.steps <= 30
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.5 * values[0]
    assert model.training
    assert model.drop.training
    assert not model.norm.training
    assert torch.equal(model.first.weight.grad, torch.ones_like(model.first.weight))
    assert torch.equal(model.norm.running_mean, statistics)
    assert torch.equal(model.last.bias, bias)
    (row,) = [row for row in penalties.report() if row.target == "first.weight"]
    assert row.zero_units > 0


def test_what_cannot_be_polished_is_refused_and_nothing_changes():
    model = nn.Linear(2, 1)
    x, y = torch.randn(4, 2), torch.randn(4, 1)
    with pytest.raises(ArgumentError, match="no penalty that is attached to the model has one"):
        penalize.polish(model, (x, y), mse)
    penalties = penalize.attach(model, weights={"weight": HoyerSquare(0.1)})
    with pytest.raises(ArgumentError, match="no penalty that is attached to the model has one"):
        penalize.polish(model, (x, y), mse)
    penalties["weight"].regularizer = L1(0.1)
    with pytest.raises(ArgumentError, match="steps must be an integer >= 1, got 0"):
        penalize.polish(model, (x, y), mse, steps=0)
    with pytest.raises(ArgumentError, match="tolerance must be a finite number >= 0, got -1"):
        penalize.polish(model, (x, y), mse, tolerance=-1)
    with pytest.raises(ArgumentError, match="give a DataLoader or a list, not an iterator"):
        penalize.polish(model, iter([(x, y)]), mse)
    with pytest.raises(ArgumentError, match="data holds no rows"):
        penalize.polish(model, [], mse)
    before = model.weight.detach().clone()
    with pytest.raises(PenaltyError, match="must be finite, got nan"):
        penalize.polish(model, (x, y), lambda output, y: output.sum() * math.nan)
    calls = []

    def fails_later(output, y):
        calls.append(None)
        if len(calls) > 9:
            raise RuntimeError("out of memory")
        return mse(output, y)

    with pytest.raises(RuntimeError, match="out of memory"):
        penalize.polish(model, (x, y), fails_later)
    assert torch.equal(model.weight, before)
    assert model.training
