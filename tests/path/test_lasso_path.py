"""The path of a linear model is scikit-learn's, and its default grid ends where scikit-learn's begins.

scikit-learn minimizes mean((y - f)**2) / 2 + alpha * (r * sum(abs(w)) + (1 - r) * sum(w**2) / 2); a path minimizes
mean((y - f)**2) + strength * (l1 * sum(abs(w)) + l2 * sum(w**2)). So alpha = strength * l1 / 2 for a Lasso (r = 1), and
for an elastic net strength * l1 = 2 * alpha * r and strength * l2 = alpha * (1 - r).
"""

import functools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import enet_path, lasso_path
from sklearn.preprocessing import StandardScaler
from torch import nn

from penalize import attach
from penalize.path import regularization_path
from penalize.path.data.folds import make_folds
from penalize.path.zeroing import zeroing_strength
from penalize.regularizers import L1, L1L2, L2, GroupLasso

# Full batches: the step is below 2 / L, with L the largest curvature of the mean squared error of scaled inputs.
EXACT = {
    "folds": 2,
    "epochs": 600,
    "batch_size": 10_000,
    "optimizer": functools.partial(torch.optim.SGD, lr=0.2, momentum=0.9),
    "proximal": True,
    "progress": False,
}


@pytest.fixture(scope="module")
def lasso():
    x, y = load_diabetes(return_X_y=True)
    return regularization_path(nn.Linear(10, 1).double(), x, y, weights={"weight": L1(1.0)}, **EXACT)


def scaled():
    x, y = load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(x), (y - y.mean()) / y.std()


def test_the_lasso_path_is_that_of_scikit_learn(lasso):
    x, y = scaled()
    _, expected, _ = lasso_path(x, y, alphas=lasso.strengths[::-1] / 2, tol=1e-12, max_iter=100_000)
    found = lasso.coefficients("weight")[:, 0]
    np.testing.assert_allclose(found, expected[:, ::-1].T, atol=1e-8)
    np.testing.assert_array_equal(found == 0, expected[:, ::-1].T == 0)
    for strength, weights in zip(lasso.strengths, expected[:, ::-1].T, strict=True):
        assert lasso.selected_features(strength) == np.flatnonzero(weights).tolist()


def test_the_elastic_net_path_is_that_of_scikit_learn():
    x, y = load_diabetes(return_X_y=True)
    share = 0.3
    weights = {"weight": L1L2(2 * share, 1 - share)}
    alphas = np.geomspace(0.01, 1, 5)
    path = regularization_path(nn.Linear(10, 1).double(), x, y, weights=weights, strengths=alphas, **EXACT)
    _, expected, _ = enet_path(*scaled(), l1_ratio=share, alphas=alphas[::-1], tol=1e-12, max_iter=100_000)
    np.testing.assert_allclose(path.coefficients("weight")[:, 0], expected[:, ::-1].T, atol=1e-8)


def test_scores_are_those_of_scikit_learn_on_the_same_folds(lasso):
    x, y = load_diabetes(return_X_y=True)
    data = make_folds(x, y, "regression", 2, 0, torch.float64)
    place = 12
    for fold in range(2):
        train, others = data.train[fold].numpy(), data.validation[fold].numpy()
        inputs, targets = data.x[fold].numpy(), data.y[fold].numpy()
        alpha = [lasso.strengths[place] / 2]
        _, weights, _ = lasso_path(inputs[train], targets[train], alphas=alpha, tol=1e-12, max_iter=100_000)
        residual = targets[others] - inputs[others] @ weights[:, 0]
        expected = 1 - (residual**2).sum() / ((targets[others] - targets[others].mean()) ** 2).sum()
        # Epochs leave out a row of the larger fold, of which there are two halves here: none.
        assert lasso.fold_scores[place, fold] == pytest.approx(expected, abs=1e-6)


def test_predictions_are_in_the_targets_own_units(lasso):
    x, y = load_diabetes(return_X_y=True)
    strength = lasso.best
    weights = lasso.coefficients("weight")[np.flatnonzero(lasso.strengths == strength)[0], 0]
    with torch.no_grad():
        found = lasso.model(strength)(torch.tensor(x)).flatten().numpy()
    np.testing.assert_allclose(found, scaled()[0] @ weights * y.std() + y.mean(), atol=1e-6)


def test_the_default_grid_ends_where_the_lasso_path_of_scikit_learn_begins(lasso):
    x, y = load_diabetes(return_X_y=True)
    data = make_folds(x, y, "regression", 2, 0, torch.float64)
    of_folds = []
    for fold, rows in enumerate(data.train):
        inputs, targets = data.x[fold, rows].numpy(), data.y[fold, rows].numpy()
        alphas, _, _ = lasso_path(inputs, targets, alphas=3)
        of_folds.append(2 * alphas[0])
    assert lasso.strengths[-1] == pytest.approx(max(of_folds), rel=1e-9)
    assert lasso.strengths[0] == pytest.approx(lasso.strengths[-1] / 1e4)
    assert len(lasso.strengths) == 24
    np.testing.assert_array_equal(lasso.fold_zeros[-1], 1.0)
    assert (lasso.fold_zeros[-2] < 1).any()


def strength_that_zeroes(model, regularizer, load=load_wine):
    x, y = load(return_X_y=True)
    layer = model if isinstance(model, nn.Linear) else next(m for m in model.modules() if isinstance(m, nn.Linear))
    name = next(name for name, parameter in model.named_parameters() if parameter is layer.weight)
    penalties = attach(model, weights={name: regularizer})
    return zeroing_strength(model, penalties, make_folds(x, y, "auto", 3, 0, torch.float64)), name


@pytest.mark.parametrize(
    ("regularizer", "bias"),
    [
        (L1(1.0), True),
        (L1(4.0), False),
        (L1L2(2.0, 0.5), True),
        (GroupLasso(1.0, axis=0), True),
        (GroupLasso(0.5, axis=1, scale_reg="group_size"), True),
    ],
)
def test_a_classification_is_zero_at_that_strength_and_not_below(regularizer, bias):
    def model():
        torch.manual_seed(0)
        return nn.Linear(13, 3, bias=bias).double()

    x, y = load_wine(return_X_y=True)
    zeroing, _ = strength_that_zeroes(model(), regularizer)
    settings = {**EXACT, "folds": 3, "epochs": 300, "optimizer": functools.partial(torch.optim.SGD, lr=0.5)}
    path = regularization_path(
        model(), x, y, weights={"weight": regularizer}, strengths=[zeroing * 0.98, zeroing * 1.02], **settings
    )
    np.testing.assert_array_equal(path.fold_zeros[1], 1.0)
    assert path.fold_zeros[0].min() < 1


def test_shapes_around_the_layer_and_frozen_biases_are_known():
    assert strength_that_zeroes(nn.Sequential(nn.Flatten(), nn.Linear(13, 3)), L1(1.0))[0] == pytest.approx(
        strength_that_zeroes(nn.Linear(13, 3), L1(1.0))[0]
    )
    frozen = nn.Linear(13, 3)
    with torch.no_grad():
        frozen.bias.requires_grad_(False).zero_()
    without = strength_that_zeroes(nn.Linear(13, 3, bias=False), L1(1.0))[0]
    assert strength_that_zeroes(frozen, L1(1.0))[0] == pytest.approx(without)


@pytest.mark.parametrize(
    ("model", "regularizer"),
    [
        (nn.Linear(13, 3), L2(1.0)),
        (nn.Linear(13, 3), L1L2(0.0, 1.0)),
        (nn.Sequential(nn.Linear(13, 4), nn.Linear(4, 3)), L1(1.0)),
        (nn.Sequential(nn.Linear(13, 3), nn.ReLU()), L1(1.0)),
        (nn.Sequential(nn.BatchNorm1d(13), nn.Linear(13, 3)), L1(1.0)),
    ],
)
def test_elsewhere_it_is_not_known(model, regularizer):
    assert strength_that_zeroes(model, regularizer)[0] is None


def test_the_grid_without_a_known_end():
    x, y = load_wine(return_X_y=True)
    model = nn.Linear(13, 3)
    for rules in ({"weight": L2(1.0)}, {"*": L1(1.0)}):
        path = regularization_path(model, x, y, weights=rules, folds=2, epochs=1, batch_size=200, progress=False)
        assert (path.strengths[0], path.strengths[-1], len(path.strengths)) == (1e-6, 1.0, 24)
    path = regularization_path(
        model, x, y, weights={"weight": L1(1.0)}, activity={"": L2(1.0)}, folds=2, epochs=1, batch_size=200
    )
    assert path.strengths[0] == 1e-6
