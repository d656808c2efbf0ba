"""Models trained on all rows, and what is asked of them."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from tests.path.path_models import Tied
from torch import nn

import penalize
from penalize import attach
from penalize.errors import ArgumentError, DataError, TargetError
from penalize.path import RegularizationPath, regularization_path
from penalize.path.making import made_model
from penalize.path.network import multilayer_perceptron
from penalize.path.training.objective import data_loss
from penalize.regularizers import L1, L2, GroupLasso

SETTINGS = {"folds": 2, "epochs": 3, "batch_size": 16, "seed": 3, "learning_rate": 5e-3, "progress": False}


@pytest.mark.parametrize("load", [load_wine, load_diabetes])
@pytest.mark.parametrize("proximal", [False, True])
def test_a_refitted_model_is_the_model_trained_alone_on_all_rows(load, proximal):
    x, y = load(return_X_y=True)
    outputs = 3 if load is load_wine else 1

    def factory():
        return multilayer_perceptron(x.shape[1], [6], outputs).double()

    rules = {"*.weight": L1(1.0) if proximal else L2(1.0)}
    path = regularization_path(factory, x, y, weights=rules, strengths=[0.001, 0.02], proximal=proximal, **SETTINGS)
    mean, deviation = (y.mean(), y.std()) if outputs == 1 else (0.0, 1.0)
    inputs = torch.tensor((x - x.mean(0)) / x.std(0))
    targets = torch.tensor((y - mean) / deviation if outputs == 1 else y)
    model = made_model(factory, 3)
    placed = {"*.weight": L1(0.02) if proximal else L2(0.02)}
    penalties = attach(model, weights=placed)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    penalties.bind(optimizer, proximal=proximal)
    data = path.all_rows.job.data.whole()
    for epoch in range(3):
        for rows in torch.split(data.epoch_rows(epoch)[0], 16):
            optimizer.zero_grad()
            data_loss(model(inputs[rows]), targets[rows], data.task).backward()
            optimizer.step()
    again = path.model(0.02)
    with torch.no_grad():
        expected = model(inputs) * deviation + mean
        torch.testing.assert_close(again(torch.tensor(x)), expected, rtol=1e-8, atol=1e-8)
    assert penalize.attached(again) == []
    assert not again.training
    assert path.coefficients().keys() == {"0.weight", "2.weight"}
    np.testing.assert_allclose(path.coefficients("0")[1], model[0].weight.detach().numpy(), atol=1e-9)
    loss = data_loss(model(inputs), targets, data.task).detach()
    np.testing.assert_allclose(path.fits.train_loss[1], loss)


def test_a_model_takes_raw_inputs_and_regression_gives_the_targets_own_units():
    x, y = load_diabetes(return_X_y=True)
    x = (x * 1000 + 5).astype(np.float32)
    path = regularization_path(
        nn.Linear(10, 1), x, y, weights={"weight": L2(1.0)}, strengths=[1e-3], **{**SETTINGS, "epochs": 60}
    )
    with torch.inference_mode():
        output = path.model(1e-3)(torch.tensor(x)).flatten().numpy()
    assert 1 - ((output - y) ** 2).sum() / ((y - y.mean()) ** 2).sum() > 0.45


def test_a_model_is_a_plain_module(tmp_path):
    x, y = load_wine(return_X_y=True)
    path = regularization_path(nn.Linear(13, 3), x, y, weights={"weight": L2(1.0)}, strengths=[0.1, 1.0], **SETTINGS)
    model, other = path.model(0.1), path.model(1.0)
    inputs = torch.tensor(x)
    assert model.state_dict().keys() >= {"model.weight", "model.bias", "input_mean", "input_factor", "target_mean"}
    with torch.no_grad():
        expected = model(inputs)
        assert torch.equal(pickle.loads(pickle.dumps(model))(inputs), expected)
        exported = torch.export.export(model, (inputs,), strict=False).module()
        torch.testing.assert_close(exported(inputs), expected)
        other.load_state_dict(model.state_dict())
        assert torch.equal(other(inputs), expected)
        assert model.double()(inputs).dtype == torch.float64
    assert all(parameter.requires_grad for parameter in model.parameters())
    model.train()
    model(inputs).sum().backward()
    assert path.model(0.1).model.weight.grad is None


def test_a_classification_gives_logits_in_the_order_of_the_classes():
    x, y = load_wine(return_X_y=True)
    names = np.array(["red", "amber", "white"])[y]
    settings = {**SETTINGS, "epochs": 20, "learning_rate": 0.05}
    path = regularization_path(nn.Linear(13, 3), x, names, weights={"weight": L2(1.0)}, strengths=[1e-3], **settings)
    with torch.no_grad():
        chosen = path.model(1e-3)(torch.tensor(x)).argmax(1).numpy()
    assert path.settings["classes"] == ["amber", "red", "white"]
    assert (np.array(path.settings["classes"])[chosen] == names).mean() > 0.95


def test_missing_values_are_filled_and_marked_by_the_model_itself():
    x, y = load_wine(return_X_y=True)
    x[::7, 2] = np.nan
    x[3, 12] = np.nan
    x = np.column_stack([x, np.full(len(x), 4.0)])
    path = regularization_path(
        nn.Linear(16, 3).double(), x, y, weights={"weight": L2(1.0)}, strengths=[1e-3], **SETTINGS
    )
    model = path.model(1e-3)
    whole = path.all_rows.job.data.whole()
    with torch.no_grad():
        torch.testing.assert_close(model(torch.tensor(x)), model.model(whole.x[0]))


def test_a_table_is_given_as_its_inputs_with_names():
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    x = x.iloc[:, :3].copy()
    x.iloc[::5, 1] = np.nan
    x["half"] = np.where(np.arange(len(x)) % 2, "odd", "even")
    settings = {**SETTINGS, "epochs": 8}
    weights = {"0.weight": GroupLasso(1.0, axis=1)}
    path = regularization_path(
        lambda: multilayer_perceptron(6, [4], 2).double(),
        x,
        y,
        weights=weights,
        strengths=[1e-4, 0.1, 1.0],
        proximal=True,
        **settings,
    )
    names = ["mean radius", "mean texture", "mean texture=(missing)", "mean perimeter", "half=even", "half=odd"]
    assert path.settings["feature_names"] == names
    assert path.selected_features(1e-4) == names
    some = path.selected_features(0.1)
    assert set(some) < set(names)
    assert "mean radius" in some
    assert path.selected_features(1.0) == []
    given = pd.get_dummies(x, columns=["half"], dtype=float)
    model = path.model(0.1)
    with torch.no_grad():
        expected = model.model(path.all_rows.job.data.whole().x[0])
        torch.testing.assert_close(model(torch.tensor(given.to_numpy())), expected)


def test_selected_features_are_columns_of_the_input_layers_weight():
    x, y = load_wine(return_X_y=True)
    path = regularization_path(
        nn.Linear(13, 3),
        x,
        y,
        weights={"weight": L1(1.0)},
        strengths=[0.1],
        proximal=True,
        **{**SETTINGS, "epochs": 40},
    )
    chosen = path.selected_features(0.1)
    expected = np.flatnonzero((path.coefficients("weight")[0] != 0).any(axis=0))
    assert chosen == expected.tolist()
    assert 0 < len(chosen) < 13


@pytest.mark.parametrize(
    ("model", "rules"),
    [
        (multilayer_perceptron(13, [13], 3), {"weights": {"2.weight": L1(1.0)}}),
        (multilayer_perceptron(13, [13], 3), {"weights": {"*.bias": L1(1.0)}}),
        (multilayer_perceptron(13, [13], 3), {"activity": {nn.ReLU: L1(1.0)}}),
        (nn.Sequential(nn.BatchNorm1d(13), nn.Linear(13, 3)), {"weights": {"1.weight": L1(1.0)}}),
    ],
)
def test_features_are_selected_where_the_inputs_themselves_are_penalized(model, rules):
    x, y = load_wine(return_X_y=True)
    path = regularization_path(model, x, y, **rules, strengths=[0.1], **SETTINGS)
    with pytest.raises(TargetError, match="needs a penalty on the weight of the linear layer that takes the inputs"):
        path.selected_features(0.1)
    with pytest.raises(
        TargetError, match="plot_coefficients draws the penalized weights of a model that is one linear"
    ):
        path.plot_coefficients()


def test_inputs_that_are_flattened_first_and_layers_of_penalize():
    x, y = load_wine(return_X_y=True)
    x = np.concatenate([x, x[:, :1]], axis=1).reshape(-1, 2, 7)
    dense = penalize.layers.Dense(3)
    model = nn.Sequential(nn.Flatten(), dense)
    model(torch.zeros(1, 2, 7))
    path = regularization_path(model, x, y, weights={"1.weight": L1(1.0)}, strengths=[1e-3], proximal=True, **SETTINGS)
    assert path.selected_features(1e-3) == list(range(14))
    with torch.no_grad():
        assert path.model(1e-3)(torch.tensor(x)).shape == (178, 3)


def test_images_are_standardized_pixel_by_pixel():
    x, y = load_wine(return_X_y=True)
    x = x[:, :12].reshape(-1, 1, 3, 4)
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)).double()
    path = regularization_path(model, x, y, weights={"0.weight": GroupLasso(1.0)}, strengths=[1e-3], **SETTINGS)
    found = path.model(1e-3)
    with torch.no_grad():
        torch.testing.assert_close(found(torch.tensor(x)), found.model(path.all_rows.job.data.whole().x[0]))
    assert path.coefficients("0").shape == (1, 2, 1, 3, 3)


def test_a_path_that_was_pickled_can_still_train_on_all_rows():
    x, y = load_wine(return_X_y=True)
    path = regularization_path(nn.Linear(13, 3), x, y, weights={"weight": L2(1.0)}, strengths=[0.1, 1.0], **SETTINGS)
    again = pickle.loads(pickle.dumps(path))
    assert again == path
    assert again.refit() != path
    assert again == path.refit()


def test_buffers_are_those_of_the_training_on_all_rows():
    x, y = load_wine(return_X_y=True)
    model = nn.Sequential(nn.Linear(13, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)).double()
    path = regularization_path(model, x, y, weights={"0.weight": L2(1.0)}, strengths=[1e-3, 1.0], **SETTINGS)
    weak, strong = path.model(1e-3), path.model(1.0)
    assert int(weak.model[1].num_batches_tracked) == 3 * 12
    assert not torch.equal(weak.model[1].running_mean, strong.model[1].running_mean)
    assert not torch.equal(weak.model[1].running_mean, model[1].running_mean)


def test_tied_weights_stay_tied():
    x, y = load_wine(return_X_y=True)
    path = regularization_path(Tied(), x, y, weights={"first.weight": L2(1.0)}, strengths=[1e-3], **SETTINGS)
    model = path.model(1e-3).model
    assert model.second.weight is model.first.weight
    np.testing.assert_array_equal(path.coefficients("first")[0], model.first.weight.detach().numpy())


def test_training_on_all_rows_happens_once_when_it_is_asked_for(monkeypatch):
    import penalize.path.refit as refit

    trained = []
    train = refit.AllRows.train
    monkeypatch.setattr(refit.AllRows, "train", lambda *args: trained.append(1) or train(*args))
    x, y = load_wine(return_X_y=True)
    path = regularization_path(nn.Linear(13, 3), x, y, weights={"weight": L2(1.0)}, strengths=[0.1, 1.0], **SETTINGS)
    assert not trained
    assert path.refit() is path
    path.refit().coefficients()
    path.model(0.1)
    assert len(trained) == 1


def test_questions_that_have_no_answer():
    x, y = load_wine(return_X_y=True)
    path = regularization_path(nn.Linear(13, 3), x, y, weights={"weight": L2(1.0)}, strengths=[0.1, 1.0], **SETTINGS)
    assert torch.equal(path.model(0.1000000001).model.weight, path.model(np.float32(0.1)).model.weight)
    for bad in (0.2, -1, 0, float("nan"), "best", True, None):
        with pytest.raises(ArgumentError, match="strength must be one of path.strengths"):
            path.model(bad)
    with pytest.raises(ArgumentError, match="the nearest is 0.1, got 0.2"):
        path.selected_features(0.2)
    with pytest.raises(TargetError, match="the model has no weight 'wait': did you mean 'weight'"):
        path.coefficients("wait")
    path.fits.weights["weight"][0, 0, 0] = torch.nan
    with pytest.raises(DataError, match=r"the model of strength 0\.1 did not stay finite"):
        path.model(0.1)
    with pytest.raises(DataError, match=r"the model of strength 0\.1 did not stay finite"):
        path.selected_features(0.1)
    losses = np.zeros((2, 2))
    bare = RegularizationPath(np.array([0.1, 1.0]), losses, losses, losses, losses, "accuracy")
    with pytest.raises(ArgumentError, match="this path does not know its data any more"):
        bare.coefficients()


def test_early_stopping_says_how_long_to_train_on_all_rows():
    x, y = load_wine(return_X_y=True)
    settings = {**SETTINGS, "epochs": 60, "learning_rate": 0.05}
    rules = {"weight": L2(1.0)}
    path = regularization_path(
        nn.Linear(13, 3).double(), x, y, weights=rules, strengths=[1e-4, 0.3], early_stopping=2, **settings
    )
    epochs = path.all_rows.epochs
    assert all(1 <= count < 60 for count in epochs)
    for place, count in enumerate(epochs):
        alone = regularization_path(
            path.all_rows.job.base,
            x,
            y,
            weights=rules,
            strengths=path.strengths[[place]],
            **{**settings, "epochs": count},
        )
        np.testing.assert_allclose(path.coefficients("weight")[place], alone.coefficients("weight")[0], rtol=1e-8)


def test_models_that_cannot_be_stacked_are_trained_on_all_rows_one_after_another():
    class Branches(nn.Linear):
        def forward(self, x):
            return super().forward(x) if x.sum() > -1e9 else x

    x, y = load_wine(return_X_y=True)
    settings = {**SETTINGS, "processes": 1}
    torch.manual_seed(0)
    branches, linear = Branches(13, 3).double(), nn.Linear(13, 3).double()
    linear.load_state_dict(branches.state_dict())
    rules = {"weight": L1(1.0)}
    stacked = regularization_path(linear, x, y, weights=rules, strengths=[0.1, 0.2], proximal=True, **settings)
    with pytest.warns(penalize.path.NotStackedWarning, match="cannot be trained in a stack"):
        path = regularization_path(branches, x, y, weights=rules, strengths=[0.1, 0.2], proximal=True, **settings)
    np.testing.assert_allclose(path.coefficients("weight"), stacked.coefficients("weight"), rtol=1e-8, atol=1e-12)
    assert path.selected_features(0.2) == stacked.selected_features(0.2)


def test_warm_starts_follow_each_other_on_all_rows_too():
    x, y = load_wine(return_X_y=True)
    model, rules = nn.Linear(13, 3).double(), {"weight": L2(1.0)}
    warm = regularization_path(model, x, y, weights=rules, strengths=[0.1, 0.2], warm_start=True, **SETTINGS)
    cold = regularization_path(model, x, y, weights=rules, strengths=[0.1, 0.2], **SETTINGS)
    np.testing.assert_allclose(warm.coefficients("weight")[0], cold.coefficients("weight")[0], rtol=1e-8)
    assert warm.fits.train_loss[1] < cold.fits.train_loss[1]
