"""Proximal steps of penalties of groups, in the metric of each optimizer, beside a solver of their own."""

import numpy as np
import pytest
import torch
from torch import nn

import penalize
from penalize import layers
from penalize.errors import BindError
from penalize.regularizers import GroupLasso, LInf, NuclearNorm, SparseGroupLasso

SAMPLES, FEATURES, OUTPUTS = 80, 12, 3


@pytest.fixture(scope="module")
def data():
    """Many outputs of few inputs that matter, correlated."""
    random = np.random.default_rng(0)
    x = random.standard_normal((SAMPLES, FEATURES)) @ (np.eye(FEATURES) + 0.4)
    true = random.standard_normal((FEATURES, OUTPUTS)) * (np.arange(FEATURES) < 4)[:, None]
    return x, x @ true + 0.1 * random.standard_normal((SAMPLES, OUTPUTS))


def objective(w, x, y, strength):
    """w is (features, outputs); a group is all weights of one feature."""
    return 0.5 * np.sum((x @ w - y) ** 2) / SAMPLES + strength * np.linalg.norm(w, axis=1).sum()


def solve(x, y, strength):
    """Proximal gradient steps with the group soft threshold, until nothing moves."""
    w = np.zeros((FEATURES, OUTPUTS))
    rate = 1 / np.linalg.eigvalsh(x.T @ x / SAMPLES)[-1]
    for _ in range(200_000):
        z = w - rate * x.T @ (x @ w - y) / SAMPLES
        lengths = np.linalg.norm(z, axis=1, keepdims=True)
        new = z * np.maximum(1 - rate * strength / np.maximum(lengths, 1e-300), 0)
        if np.abs(new - w).max() < 1e-15:
            break
        w = new
    return w


OPTIMIZERS = {
    "momentum": lambda p, rate: torch.optim.SGD(p, lr=rate, momentum=0.9),
    "Adam": lambda p, _: torch.optim.Adam(p, lr=0.1),
    "RMSprop": lambda p, _: torch.optim.RMSprop(p, lr=0.1),
    "NAdam": lambda p, _: torch.optim.NAdam(p, lr=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("kind", ["torch", "keras"])
def test_the_group_lasso_of_a_solver_same_groups(data, name, kind):
    x, y = data
    strength = 0.2
    expected = solve(x, y, strength)
    assert 0 < (np.linalg.norm(expected, axis=1) == 0).sum() < FEATURES
    if kind == "torch":
        # (out, in): one group for each input.
        model = nn.Linear(FEATURES, OUTPUTS, bias=False, dtype=torch.float64)
        rules = {"weight": GroupLasso(strength, axis=1)}
    else:
        # (in, out) is what Keras's layout gives.
        model = layers.Dense(OUTPUTS, use_bias=False, dtype="float64", kernel_regularizer=GroupLasso(strength, axis=0))
        model.build((None, FEATURES))
        rules = None
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    rate = 1 / np.linalg.eigvalsh(x.T @ x / SAMPLES)[-1]
    optimizer = OPTIMIZERS[name](model.parameters(), rate)
    schedule = None if name == "momentum" else torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1500)
    penalties = penalize.attach(model, weights=rules).bind(optimizer, proximal=True)
    for _ in range(1500):
        optimizer.zero_grad()
        (0.5 * (model(torch.from_numpy(x)) - torch.from_numpy(y)).square().sum() / SAMPLES).backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
    found = next(model.parameters()).detach().numpy().T
    best = objective(expected, x, y, strength)
    assert (objective(found, x, y, strength) - best) / best <= 1e-6
    assert np.array_equal(np.linalg.norm(found, axis=1) == 0, np.linalg.norm(expected, axis=1) == 0)
    (row,) = penalties.report()
    assert row.zeros == pytest.approx((expected == 0).mean())


def test_one_step_of_each_is_its_own_proximal_step_in_the_metric():
    for regularizer in (SparseGroupLasso(0.3, axis=1), LInf(0.3), GroupLasso(0.2, axis=0)):
        torch.manual_seed(0)
        models = [nn.Linear(4, 3, bias=False, dtype=torch.float64) for _ in range(2)]
        models[1].load_state_dict(models[0].state_dict())
        optimizers = [torch.optim.Adam(model.parameters(), lr=0.1) for model in models]
        penalize.attach(models[0], weights={"weight": regularizer}).bind(optimizers[0], proximal=True)
        gradient = torch.randn(3, 4, dtype=torch.float64)
        for model, optimizer in zip(models, optimizers, strict=True):
            model.weight.grad = gradient.clone()
            optimizer.step()
        # The first step of Adam has v / (1 - beta2) = g**2.
        h = 0.1 / (gradient.abs() + 1e-8)
        torch.testing.assert_close(models[0].weight.detach(), regularizer.prox(models[1].weight.detach(), h))
        assert not torch.equal(models[0].weight, models[1].weight)


def test_what_has_a_proximal_step_of_one_size_is_refused_where_each_coordinate_has_its_own():
    model = nn.Linear(4, 3, bias=False)
    penalties = penalize.attach(model, weights={"weight": NuclearNorm(0.2)})
    with pytest.raises(
        BindError, match=r"weight: the proximal step of NuclearNorm\(.*\) is known for one step size alone, and Adam"
    ):
        penalties.bind(torch.optim.Adam(model.parameters(), lr=0.1), proximal=True)
    assert not penalties.bound
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    penalties.bind(optimizer, proximal=True)
    before = torch.linalg.svdvals(model.weight.detach())
    model.weight.grad = torch.zeros(3, 4)
    optimizer.step()
    torch.testing.assert_close(torch.linalg.svdvals(model.weight.detach()), (before - 0.2).clamp(min=0))
