"""Regularization paths: a model of the stack is the model trained alone, and what goes in and comes out."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.preprocessing import StandardScaler
from tests.path.path_models import Tied
from torch import nn

from penalize import attach
from penalize.errors import ArgumentError, DataError, TargetError
from penalize.path import RegularizationPath, regularization_path
from penalize.path.data.folds import make_folds
from penalize.path.making import made_model
from penalize.path.network import multilayer_perceptron, rules
from penalize.path.report.table import print_path
from penalize.path.training.objective import data_loss
from penalize.regularizers import L1, L1L2, L2, GroupLasso

SETTINGS = {"folds": 3, "epochs": 3, "batch_size": 16, "seed": 3, "learning_rate": 5e-3}


def alone(factory, x, y, task, strength, fold, placed):
    """One strength and fold by a plain loop: the model, its fold's data, and torch's Adam on loss + penalty.

    Without a strength the penalties are those that are placed, by proximal steps.
    """
    model = made_model(factory, SETTINGS["seed"])
    data = make_folds(x, y, task, SETTINGS["folds"], SETTINGS["seed"], next(model.parameters()).dtype)
    penalties = attach(model, *placed)
    optimizer = torch.optim.Adam(model.parameters(), lr=SETTINGS["learning_rate"])
    if strength is None:
        penalties.bind(optimizer, proximal=True)
    for epoch in range(SETTINGS["epochs"]):
        for rows in torch.split(data.epoch_rows(epoch)[fold], SETTINGS["batch_size"]):
            optimizer.zero_grad()
            loss = data_loss(model(data.x[fold, rows]), data.y[fold, rows], data.task)
            (loss if strength is None else loss + strength * penalties.loss()).backward()
            optimizer.step()
    with torch.no_grad():
        train, validation = data.train[fold], data.validation[fold]
        losses = [float(data_loss(model(data.x[fold, r]), data.y[fold, r], data.task)) for r in (train, validation)]
        output, y_val = model(data.x[fold, validation]), data.y[fold, validation]
        if task == "classification":
            score = float((output.argmax(-1) == y_val).double().mean())
        else:
            score = float(1 - ((output[:, 0] - y_val) ** 2).sum() / ((y_val - y_val.mean()) ** 2).sum())
    weights = [target.tensor().flatten() for target in penalties.values() if hasattr(target, "tensor")]
    return [*losses, score, float((torch.cat(weights) == 0).double().mean()) if weights else None]


def stacked(factory, x, y, task, strengths, placed, **more):
    weights, activity = placed
    return regularization_path(
        factory, x, y, weights=weights, activity=activity, strengths=strengths, task=task, **SETTINGS, **more
    )


CASES = {
    "digits l2 kernel": (load_digits, "classification", "l2", "kernel"),
    "wine l1 bias": (load_wine, "classification", "l1", "bias"),
    "wine l1_l2 activity": (load_wine, "classification", "l1_l2", "activity"),
    "breast cancer orthogonal kernel": (load_breast_cancer, "classification", "orthogonal_regularizer", "kernel"),
    "wine nuclear norm kernel": (load_wine, "classification", "nuclear_norm", "kernel"),
    "wine largest by units": (load_wine, "classification", "linf", "features"),
    "wine decorrelated activity": (load_wine, "classification", "decorrelation", "activity"),
    "wine orthogonal activity": (load_wine, "classification", "orthogonal_regularizer", "activity"),
    "diabetes l2 kernel": (load_diabetes, "regression", "l2", "kernel"),
}


@pytest.mark.parametrize(("load", "task", "penalty", "on"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_stacked_model_is_the_model_trained_alone(load, task, penalty, on, dtype):
    x, y = load(return_X_y=True)
    if len(x) > 600:
        x, y = x[:600], y[:600]
    outputs = len(np.unique(y)) if task == "classification" else 1
    placed = rules(penalty, on, [12])

    def factory():
        return multilayer_perceptron(x.shape[1], [12], outputs).to(dtype)

    path = stacked(factory, x, y, task, [1e-4, 1e-2, 0.3], placed)
    for place, fold in ((0, 2), (1, 0), (2, 1)):
        got = [r[place, fold] for r in (path.fold_train_losses, path.fold_val_losses, path.fold_scores)]
        expected = alone(factory, x, y, task, path.strengths[place], fold, placed)
        np.testing.assert_allclose(got, expected[:3], rtol=1e-8 if dtype == torch.float64 else 2e-3)


@pytest.mark.parametrize("penalty", ["l1", "l1_l2", "group_lasso"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_stacked_model_with_proximal_steps_is_the_model_trained_alone(penalty, dtype):
    x, y = load_wine(return_X_y=True)
    scaled = {"l1": L1, "l1_l2": lambda s: L1L2(s, s), "group_lasso": lambda s: GroupLasso(s, axis=0)}[penalty]
    task = "classification"

    def factory():
        return multilayer_perceptron(13, [12], 3).to(dtype)

    path = stacked(factory, x, y, task, [1e-3, 1e-2, 0.1], rules(penalty, "kernel", [12]), proximal=True)
    zeros = []
    for place, fold in ((0, 2), (1, 0), (2, 1)):
        got = [r[place, fold] for r in (path.fold_train_losses, path.fold_val_losses, path.fold_scores)]
        placed = ({"*.weight": scaled(path.strengths[place])}, {})
        expected = alone(factory, x, y, task, None, fold, placed)
        np.testing.assert_allclose(got, expected[:3], rtol=1e-8 if dtype == torch.float64 else 2e-3)
        if dtype == torch.float64:
            assert path.fold_zeros[place, fold] == expected[3]
        zeros.append(path.fold_zeros[place, fold])
    assert zeros[2] > zeros[0]
    assert path.settings["proximal"] is True


def test_proximal_paths_need_a_penalty_with_a_proximal_step():
    x, y = load_wine(return_X_y=True)
    for placed in (rules("orthogonal_regularizer", "kernel", [4]), rules("l1", "activity", [4])):
        with pytest.raises(ArgumentError, match="proximal=True needs a penalty of weights that has a proximal step"):
            stacked(lambda: multilayer_perceptron(13, [4], 3), x, y, "auto", [0.1], placed, proximal=True)
    with pytest.raises(ArgumentError, match="proximal must be True or False, got 1"):
        stacked(lambda: multilayer_perceptron(13, [4], 3), x, y, "auto", [0.1], placed, proximal=1)
    with pytest.raises(ArgumentError, match="penalty group_lasso is of units.*got 'bias'"):
        rules("group_lasso", "bias", [4])


def test_chunks_do_not_change_the_result():
    x, y = load_wine(return_X_y=True)

    def factory():
        return multilayer_perceptron(13, [8], 3).double()

    paths = [
        stacked(factory, x, y, "auto", [1e-3, 1e-1], rules("l2", "kernel", [8]), chunk=chunk) for chunk in (1, 4, 64)
    ]
    for other in paths[1:]:
        np.testing.assert_allclose(other.fold_val_losses, paths[0].fold_val_losses, rtol=1e-9)
        np.testing.assert_array_equal(other.fold_scores, paths[0].fold_scores)


def test_a_module_is_copied_and_frozen_and_unpenalized_parts_stay():
    x, y = load_wine(return_X_y=True)
    model = multilayer_perceptron(13, [8], 3)
    model[0].weight.requires_grad_(False)
    before = [parameter.clone() for parameter in model.parameters()]
    attach(model, weights={"2.weight": L1(5.0)})
    path = stacked(model, x, y, "auto", [1e-3, 1e-1], ({"2.weight": L2(1.0)}, {}))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))
    assert path.settings["penalties"] == {"2.weight": "L2(l2=1.0)"}


def test_dropout_and_batch_normalization_with_its_own_statistics_each():
    x, y = load_wine(return_X_y=True)

    def factory():
        return nn.Sequential(nn.Linear(13, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))

    path = stacked(factory, x, y, "auto", [1e-3, 1e-1], ({"*.weight": L2(1.0)}, {}))
    assert path.score.max() > 0.9


def test_tied_weights_train_as_one():
    x, y = load_wine(return_X_y=True)

    def factory():
        return Tied().double()

    placed = ({"first.weight": L2(1.0)}, {})
    path = stacked(factory, x, y, "classification", [1e-2, 1e-1], placed)
    expected = alone(factory, x, y, "classification", 1e-1, 0, placed)
    np.testing.assert_allclose(path.fold_val_losses[1, 0], expected[1], rtol=1e-8)


def test_rows_are_evaluated_in_parts(monkeypatch):
    import penalize.path.training.scoring as scoring

    x, y = load_wine(return_X_y=True)
    paths = []
    model = multilayer_perceptron(13, [8], 3).double()
    for rows in (10_000, 7):
        monkeypatch.setattr(scoring, "ROWS_AT_ONCE", rows)
        paths.append(stacked(model, x, y, "auto", [1e-3, 1e-1], ({}, {nn.ReLU: L1(1.0)})))
    for name in ("fold_scores", "fold_val_losses", "fold_train_losses", "fold_zeros"):
        np.testing.assert_allclose(getattr(paths[0], name), getattr(paths[1], name), rtol=1e-9)


def test_scaling_sees_only_the_training_rows():
    x, y = load_diabetes(return_X_y=True)
    data = make_folds(x, y, "auto", 4, 0, torch.float64)
    for fold, rows in enumerate(data.train):
        expected = StandardScaler().fit(x[rows.numpy()]).transform(x)
        np.testing.assert_allclose(data.x[fold].numpy(), expected)
        assert float(data.y[fold, rows].mean()) == pytest.approx(0, abs=1e-12)
        assert float(data.y[fold, rows].std(unbiased=False)) == pytest.approx(1)
        assert not set(rows.tolist()) & set(data.validation[fold].tolist())


def test_each_epoch_draws_its_own_rows_of_the_training_part():
    x, y = load_wine(return_X_y=True)
    data = make_folds(x, y, "auto", 5, 0, torch.float32)
    first, second, again = data.epoch_rows(0), data.epoch_rows(1), data.epoch_rows(0)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    for fold, rows in enumerate(first):
        assert len(set(rows.tolist())) == len(rows) == min(map(len, data.train))
        assert set(rows.tolist()) <= set(data.train[fold].tolist())


def test_zeros_are_counted_exactly():
    x, y = load_wine(return_X_y=True)

    def factory():
        model = multilayer_perceptron(13, [8], 3)
        with torch.no_grad():
            model[0].weight[:2] = 0
            model[0].bias[:2] = -100.0
        return model

    path = stacked(factory, x, y, "auto", [1e-9, 1e-8], ({"0.weight": L1(1.0)}, {}))
    np.testing.assert_allclose(path.fold_zeros, 2 / 8)
    path = stacked(factory, x, y, "auto", [1e-9, 1e-8], ({}, {nn.ReLU: L1(1.0)}))
    assert (path.fold_zeros > 0.25).all()
    assert (path.fold_zeros < 0.95).all()


def test_models_that_do_not_stay_finite_are_marked_and_never_chosen():
    x, y = load_diabetes(return_X_y=True)
    settings = {**SETTINGS, "learning_rate": 1e30, "epochs": 2}
    path = regularization_path(
        lambda: nn.Linear(10, 1), x, y, weights={"weight": L2(1.0)}, strengths=[0.1, 1], **settings
    )
    assert np.isnan(path.score).all()
    with pytest.raises(DataError, match="no strength gave a finite score"):
        path.best  # noqa: B018
    scores = np.array([[0.8, 0.9], [0.99, 0.99], [0.8, 0.9]])
    losses = np.array([[0.1, 0.1], [np.nan, 0.1], [0.1, 0.1]])
    partly = RegularizationPath(np.array([0.1, 1.0, 10.0]), scores, losses, losses, losses * 0, "accuracy", {})
    assert np.isnan(partly.to_frame()["score"]).tolist() == [False, True, False]
    assert (partly.best, partly.best_1se) == (10.0, 10.0)
    print_path(partly, "title")


def test_the_frame_and_the_files(tmp_path):
    x, y = load_wine(return_X_y=True)
    path = stacked(
        lambda: multilayer_perceptron(13, [8], 3), x, y, "auto", [1e-3, 1e-2, 1.0], rules("l2", "kernel", [8])
    )
    files = path.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["path.csv", "path.json", "path.png", "report.html"]
    frame = pd.read_csv(files[0])
    assert list(frame.columns) == ["strength", "train_loss", "val_loss", "score", "score_se", "zeros"]
    pd.testing.assert_frame_equal(frame, path.to_frame())
    np.testing.assert_allclose(frame["score_se"], path.fold_scores.std(axis=1, ddof=1) / 3**0.5)
    content = json.loads(files[1].read_text())
    assert content["best"] == path.best
    assert content["best_1se"] == path.best_1se
    assert len(content["rows"]) == 3
    assert content["settings"]["versions"]["torch"] == torch.__version__
    assert content["settings"]["epochs"] == 3
    assert [row["strength"] for row in content["rows"]] == path.strengths.tolist()
    assert [row["score"] for row in content["rows"]] == path.score.tolist()
    assert files[2].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert path.plot(tmp_path / "again.png").axes
    assert (tmp_path / "again.png").stat().st_size > 10_000


def test_a_failing_write_leaves_the_old_files_whole(tmp_path, monkeypatch):
    x, y = load_wine(return_X_y=True)
    path = stacked(lambda: nn.Linear(13, 3), x, y, "auto", [1e-3, 1.0], ({"weight": L2(1.0)}, {}))
    path.save(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    import penalize.path.saved as saved

    def fails(figure):
        raise OSError("disk full")

    monkeypatch.setattr(saved, "figure_bytes", fails)
    with pytest.raises(OSError, match="disk full"):
        path.save(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    from penalize.path.files import write_together

    with pytest.raises(TypeError, match="bytes-like"):
        write_together({tmp_path / "path.csv": b"new", tmp_path / "path.json": None})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


GOOD = {"weights": {"weight": L2(1.0)}, "strengths": [1e-3, 1.0], **SETTINGS}


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"folds": 1}, ArgumentError, "folds must be an integer from 2 to 48, the size of the smallest class, got 1"),
        ({"folds": 49}, ArgumentError, "folds must be an integer from 2 to 48"),
        ({"epochs": 0}, ArgumentError, "epochs must be an integer >= 1, got 0"),
        ({"batch_size": True}, ArgumentError, "batch_size must be an integer >= 1, got True"),
        ({"chunk": 0}, ArgumentError, "chunk must be an integer >= 1, got 0"),
        ({"seed": -1}, ArgumentError, "seed must be an integer >= 0, got -1"),
        ({"learning_rate": 0}, ArgumentError, "learning_rate must be a number > 0, got 0"),
        (
            {"task": "ranking"},
            ArgumentError,
            "task must be one of .auto., .classification., .regression., got .ranking.",
        ),
        ({"weights": {"wait": L2()}}, TargetError, r"weights\['wait'\] matches no parameter"),
        ({"weights": {"weight": None}}, ArgumentError, "there is no penalty to vary"),
        ({"weights": {"weight": L2()}, "frozen": True}, ArgumentError, "there is no penalty to vary"),
        ({"weights": None}, TargetError, "nothing to penalize"),
    ],
)
def test_bad_arguments_are_refused_before_training(changed, error, message):
    x, y = load_wine(return_X_y=True)
    model = nn.Linear(13, 3)
    settings = {**GOOD, **changed}
    if settings.pop("frozen", False):
        model.weight.requires_grad_(False)
    with pytest.raises(error, match=message):
        regularization_path(model, x, y, **settings)


@pytest.mark.parametrize(
    ("model", "x", "y", "error", "message"),
    [
        ("linear", np.ones((9, 13)), np.arange(9.0), DataError, "classification of .* needs|output of shape"),
        (
            nn.Linear(13, 2),
            load_wine().data,
            load_wine().target,
            DataError,
            r"output of shape \(2, 3\) for 2 rows, got \(2, 2\)",
        ),
        (nn.Linear(12, 3), load_wine().data, load_wine().target, DataError, r"cannot take inputs of shape \(2, 13\)"),
        (
            nn.Linear(13, 1),
            np.ones((9, 13)),
            np.full(9, 0.5),
            DataError,
            "y must vary to be predicted, but every value is 0.5",
        ),
        (nn.ReLU(), load_wine().data, load_wine().target, ArgumentError, "model has no parameter to train"),
        (lambda: 3, load_wine().data, load_wine().target, ArgumentError, "model must make an nn.Module, got int"),
        (nn.Linear(13, 3), np.ones(9), np.zeros(9), DataError, r"x must be \(rows, features\), got shape \(9,\)"),
        (
            nn.Linear(13, 3),
            np.ones((9, 13)),
            np.arange(8.0),
            DataError,
            "x and y must have equally many rows, got 9 and 8",
        ),
        (
            nn.Linear(13, 3),
            np.full((9, 13), np.nan),
            np.zeros(9),
            DataError,
            "column x0 of x holds nothing but missing",
        ),
        (nn.Linear(13, 3), np.ones((9, 13)), np.full(9, np.nan), DataError, "y must have a value in every row"),
        (nn.Linear(13, 3), np.ones((9, 13)), np.zeros(9, dtype=int), DataError, "at least two classes in y, got 1"),
    ],
)
def test_bad_models_and_data_are_refused_before_training(model, x, y, error, message):
    if model == "linear":
        with pytest.raises(ArgumentError, match="model must be an nn.Module or a function that makes one, got str"):
            regularization_path(model, x, y, **GOOD)
        return
    with pytest.raises(error, match=message):
        regularization_path(model, x, y, **GOOD)
