"""What a path knows of itself: files that are read back, tables and pictures."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgb
from sklearn.datasets import load_diabetes, load_wine
from torch import nn

from penalize.errors import ArgumentError, FileError, FileFormatError, TargetError
from penalize.path import RegularizationPath, regularization_path
from penalize.path.network import multilayer_perceptron
from penalize.path.report.table import print_path
from penalize.regularizers import L1, L2

SETTINGS = {"folds": 3, "epochs": 3, "batch_size": 64, "learning_rate": 0.02, "progress": False}


def trained(**changed):
    x, y = load_wine(return_X_y=True)
    model = multilayer_perceptron(13, [4], 3)
    given = {"weights": {"0.weight": L1(1.0)}, "strengths": [1e-3, 1e-2, 0.1], "proximal": True, **SETTINGS, **changed}
    return regularization_path(lambda: model, x, y, **given), model


@pytest.fixture(scope="module")
def fitted():
    path, model = trained()
    return path.refit(), model


@pytest.fixture
def saved(tmp_path, folder):
    """A folder with the files of a path, to be spoiled."""
    return shutil.copytree(folder, tmp_path / "saved")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, fitted):
    place = tmp_path_factory.mktemp("path")
    fitted[0].save(place)
    return place


@pytest.fixture
def without_report(monkeypatch):
    """Saving without the figures of report.html, which has tests of its own."""
    monkeypatch.setattr("penalize.path.saved.html_report", lambda result: "<html></html>")


def made(scores=((0.8, 0.9), (0.7, 0.9), (0.1, 0.2)), zeros=0.5, **settings):
    """A path of three strengths with these scores."""
    scores = np.array(scores)
    losses = np.where(np.isnan(scores), np.nan, 1.0)
    return RegularizationPath(
        np.array([0.1, 1.0, 10.0]), scores, losses, losses, np.full((3, 2), zeros), "accuracy", settings
    )


def test_a_saved_path_is_read_back_equal(tmp_path, fitted):
    path, _ = fitted
    files = path.save(tmp_path / "new" / "folder")
    assert [file.name for file in files] == ["path.csv", "path.json", "path.png", "report.html", "path.safetensors"]
    again = RegularizationPath.load(tmp_path / "new" / "folder")
    assert again == path
    assert path == again
    pd.testing.assert_frame_equal(again.to_frame(), path.to_frame())
    assert (again.best, again.best_1se, again.cautions) == (path.best, path.best_1se, path.cautions)
    assert again.selected_features(0.1) == path.selected_features(0.1)
    np.testing.assert_array_equal(again.coefficients("0.weight"), path.coefficients("0"))
    again.save(tmp_path / "again")
    for name in ("path.csv", "path.json", "path.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "new" / "folder" / name).read_bytes()
    other, _ = trained(seed=1)
    assert other != path
    assert path != "path"


def test_a_loaded_path_gives_models_when_it_is_given_the_module(folder, fitted):
    path, model = fitted
    with pytest.raises(
        ArgumentError, match=r"model\(strength\) needs the module that was trained.*load\(directory, model"
    ):
        RegularizationPath.load(folder).model(0.1)
    x = torch.tensor(load_wine().data)
    for given in (model, lambda: multilayer_perceptron(13, [4], 3)):
        again = RegularizationPath.load(folder, model=given)
        assert again == path
        assert torch.equal(again.model(0.01)(x), path.model(0.01)(x))
    for other, message in (
        (multilayer_perceptron(13, [5], 3), r"its 0.bias is \(5,\), that one's \(4,\)"),
        (nn.Linear(13, 3), "its 0.bias is nothing"),
        (multilayer_perceptron(13, [4, 4], 3), r"its 2.bias is \(4,\), that one's \(3,\)"),
        (
            nn.Sequential(*multilayer_perceptron(13, [4], 3), nn.Linear(3, 3)),
            r"its 3.weight is \(3, 3\), that one's nothing",
        ),
    ):
        with pytest.raises(ArgumentError, match=message):
            RegularizationPath.load(folder, model=other)
    with pytest.raises(ArgumentError, match="model must be an nn.Module or a function that makes one"):
        RegularizationPath.load(folder, model="model")


def test_what_was_not_fitted_is_not_saved_and_said_to_be_missing(saved):
    path, model = trained(strengths=[0.1, 1.0])
    path.save(saved)
    assert sorted(file.name for file in saved.iterdir()) == ["path.csv", "path.json", "path.png", "report.html"]
    again = RegularizationPath.load(saved)
    assert again == path
    with pytest.raises(ArgumentError, match=r"its models on all rows were not saved: call refit\(\) before save\(\)"):
        again.coefficients()
    with pytest.raises(ArgumentError, match=r"model has nothing to hold here: call refit\(\) before save"):
        RegularizationPath.load(saved, model=model)
    path.refit()
    assert path != again


def test_numbers_that_are_not_finite_come_back(tmp_path, without_report):
    path = made(scores=((0.8, 0.9), (0.99, np.nan), (0.1, 0.2)))
    path.fold_val_losses[0, 1] = np.inf
    path.fold_train_losses[0, 0] = -np.inf
    path.save(tmp_path)
    again = RegularizationPath.load(tmp_path)
    assert again == path
    assert np.isinf(again.fold_val_losses[0, 1])
    assert json.loads((tmp_path / "path.json").read_text())["rows"][1]["score"] is None


def test_settings_of_numpy_are_numbers_and_others_are_named(tmp_path, without_report):
    path, _ = trained(strengths=[0.1, 1.0], epochs=np.int64(2), learning_rate=np.float32(0.02), seed=np.int32(1))
    path.save(tmp_path)
    assert RegularizationPath.load(tmp_path) == path
    for value, message in (
        (tmp_path, "settings must hold text, numbers, lists and dicts to be saved, got .*PosixPath"),
        (float("nan"), "settings cannot be saved: Out of range float"),
        ({(1, 2): 3}, "settings cannot be saved: keys must be str"),
    ):
        path.settings["mine"] = value
        with pytest.raises(ArgumentError, match=message):
            path.save(tmp_path)


def changed(file, function):
    content = json.loads(file.read_text())
    function(content)
    file.write_text(json.dumps(content))


HOSTILE = {
    "no object": (lambda f: f.write_text("[]"), 'this is no file of "format": "penalize.path"'),
    "another format": (lambda f: f.write_text('{"format": "x"}'), 'this is no file of "format": "penalize.path"'),
    "truncated": (lambda f: f.write_text(f.read_text()[:200]), "no JSON"),
    "binary": (lambda f: f.write_bytes(b"\x80\x04pickle"), "not UTF-8"),
    "a newer version": (lambda f: changed(f, lambda c: c.update(version=2)), "version 2 is not known here, only 1"),
    "a missing key": (lambda f: changed(f, lambda c: c.pop("settings")), "missing or not known: settings"),
    "an added key": (lambda f: changed(f, lambda c: c.update(code="x")), "missing or not known: code"),
    "strengths that fall": (lambda f: changed(f, lambda c: c["strengths"].reverse()), "strengths must be ascending"),
    "strengths of 0": (lambda f: changed(f, lambda c: c["strengths"].__setitem__(0, 0)), "strengths must be ascending"),
    "strengths of text": (
        lambda f: changed(f, lambda c: c.update(strengths="0.1")),
        "strengths must be lists of numbers",
    ),
    "no strengths": (lambda f: changed(f, lambda c: c.update(strengths=[])), "strengths must be ascending numbers"),
    "ragged scores": (
        lambda f: changed(f, lambda c: c["fold_scores"][0].pop()),
        "fold_scores must be lists of numbers, eq",
    ),
    "fewer rows": (
        lambda f: changed(f, lambda c: c["fold_zeros"].pop()),
        "fold_zeros must have 3 rows, one number a fold",
    ),
    "scores of bool": (
        lambda f: changed(f, lambda c: c["fold_scores"][0].__setitem__(0, True)),
        "fold_scores must be lists",
    ),
    "deep scores": (
        lambda f: changed(f, lambda c: c["fold_scores"][0].__setitem__(0, [1])),
        "fold_scores must be lists",
    ),
    "no score": (lambda f: changed(f, lambda c: c.update(score=1)), "score must be a string, and settings an object"),
    "odd fits": (
        lambda f: changed(f, lambda c: c.update(fits=[])),
        "fits must have sha256, penalized and input_weight",
    ),
    "odd names": (lambda f: changed(f, lambda c: c["fits"].update(penalized=[1])), "penalized must be a list of names"),
    "no such weight": (lambda f: changed(f, lambda c: c["fits"].update(penalized=["w"])), "there is no weight 'w'"),
    "odd input weight": (
        lambda f: changed(f, lambda c: c["fits"].update(input_weight=1)),
        "input_weight must be a name",
    ),
    "another digest": (
        lambda f: changed(f, lambda c: c["fits"].update(sha256="0")),
        "not the file that was saved with",
    ),
    "other strengths": (
        lambda f: changed(f, lambda c: c["strengths"].__setitem__(2, 7)),
        "its strengths are not those of",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), HOSTILE.values(), ids=HOSTILE)
def test_files_that_save_did_not_write_are_refused(saved, spoil, message):
    spoil(saved / "path.json")
    with pytest.raises(FileFormatError, match=message) as raised:
        RegularizationPath.load(saved)
    assert "\n" not in str(raised.value)
    assert str(saved) in str(raised.value)
    assert len(str(raised.value)) < 400


def test_weights_that_are_broken_or_of_another_path_are_refused(saved):
    weights = saved / "path.safetensors"
    whole = weights.read_bytes()
    for content in (whole[:-1], whole[:9], b"", whole + b"x", b"\x80\x04" + whole):
        weights.write_bytes(content)
        with pytest.raises(FileFormatError, match="not the file that was saved with path.json, or it is broken"):
            RegularizationPath.load(saved)
    weights.unlink()
    with pytest.raises(FileError, match="path.safetensors: No such file"):
        RegularizationPath.load(saved)
    weights.mkdir()
    with pytest.raises(FileError, match="not a regular file"):
        RegularizationPath.load(saved)
    with pytest.raises(FileError, match="No such file"):
        RegularizationPath.load(saved / "nowhere")


def test_tensors_that_make_no_models_are_refused(fitted):
    from penalize.path.fitted import Refit

    good = fitted[0].fits.tensors()
    weight = "weights/0.weight"
    for tensors, message in (
        ({}, "expected strengths, train_loss"),
        ({name: tensor for name, tensor in good.items() if name != "input_mean"}, "expected strengths"),
        ({**good, "more": torch.zeros(1)}, "expected strengths"),
        ({**good, "zeros": torch.zeros(2, dtype=torch.float64)}, "one number a strength"),
        ({**good, "zeros": torch.zeros(3)}, "must be float64"),
        ({**good, weight: good[weight][:2]}, "every weight must have 3 strengths along its first axis"),
        ({name: tensor for name, tensor in good.items() if not name.startswith("weights/")}, "every weight must"),
    ):
        with pytest.raises(ArgumentError, match=message):
            Refit.of_tensors(tensors, (), None)


def test_a_failing_save_leaves_nothing_behind(tmp_path, without_report, monkeypatch):
    import penalize.path.saved as saved

    def fails(files):
        raise OSError("disk full")

    monkeypatch.setattr(saved, "write_together", fails)
    with pytest.raises(OSError, match="disk full"):
        made().save(tmp_path / "new" / "folder")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match="must be a folder that can be written"):
        made().save(tmp_path / "file")


def test_nothing_of_a_model_is_unpickled(folder, fitted, monkeypatch):
    import pickle

    def refuses(*args, **keywords):
        raise AssertionError("unpickled")

    monkeypatch.setattr(pickle, "load", refuses)
    monkeypatch.setattr(pickle, "loads", refuses)
    monkeypatch.setattr(torch, "load", refuses)
    assert RegularizationPath.load(folder) == fitted[0]


def printed(path, capsys):
    print_path(path, "title")
    return capsys.readouterr().out


def test_the_table_draws_the_line_below_the_one_standard_error_strength(capsys):
    lines = printed(made(scores=((0.8, 0.9), (0.79, 0.88), (0.1, 0.2))), capsys).splitlines()
    (place,) = [number for number, line in enumerate(lines) if "1 se" in line]
    assert lines[place + 1].startswith("├")
    assert lines[place + 2].lstrip("│ ").startswith("10")
    assert lines[place - 1].rstrip("│ ").endswith("best")


def test_the_table_says_the_cautions(capsys):
    path = made(scores=((0.8, 0.9), (0.1, 0.2), (0.1, np.nan)))
    found = " ".join(printed(path, capsys).split())
    assert len(path.cautions) == 2
    for sentence in path.cautions:
        assert f"caution: {sentence}" in found
    assert "caution" not in printed(made(scores=((0.5, 0.55), (0.8, 0.82), (0.1, 0.2))), capsys)


def test_the_picture_says_how_it_was_trained_and_its_legend_is_outside_of_the_lines(tmp_path):
    for settings, title in (
        ({"proximal": True, "penalties": {"a": "L1(l1=1.0)", "b": "L1(l1=2.0)"}}, "L1 · proximal steps"),
        ({"data": "digits", "penalty": "l2", "on": "kernel"}, "digits · l2 · kernel · gradient steps"),
    ):
        figure = made(**settings).plot(tmp_path / "path.png")
        assert figure.axes[0].get_title() == title
        (legend,) = figure.legends
        figure.canvas.draw()
        for axis in figure.axes:
            assert axis.get_legend() is None
            assert not axis.get_window_extent().overlaps(legend.get_window_extent())
        assert [text.get_text() for text in legend.get_texts()][2:] == ["best: 0.1", "one standard error: 1"]


def test_the_picture_of_coefficients(tmp_path):
    x, y = load_diabetes(return_X_y=True, as_frame=True)
    path = regularization_path(
        nn.Linear(10, 1), x, y, weights={"weight": L1(1.0)}, strengths=[0.01, 0.1, 1.0], proximal=True, **SETTINGS
    )
    figure = path.plot_coefficients(tmp_path / "weights.png")
    assert (tmp_path / "weights.png").stat().st_size > 10_000
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert set(x.columns) <= set(labels)
    weights = path.coefficients("weight")
    drawn = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    np.testing.assert_array_equal(drawn["bmi"], weights[:, 0, 2])
    figure.canvas.draw()
    assert not figure.axes[0].get_window_extent().overlaps(legend.get_window_extent())


def test_of_many_coefficients_the_largest_have_names():
    path, _ = trained()
    with pytest.raises(
        TargetError, match="a model that is one linear layer; this one holds 0.weight, 0.bias, 2.weight"
    ):
        path.plot_coefficients()
    x, y = load_wine(return_X_y=True)
    path = regularization_path(nn.Linear(13, 3), x, y, weights={"weight": L2(1.0)}, strengths=[0.1, 1.0], **SETTINGS)
    figure = path.plot_coefficients()
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(labels) == 12 + 2
    weights = np.abs(path.coefficients("weight")).max(axis=0)
    output, feature = np.unravel_index(weights.argmax(), weights.shape)
    assert labels[0] == f"{output}: x{feature}"
    grey = [
        line for line in figure.axes[0].lines if to_rgb(line.get_color()) == to_rgb("tab:gray") and line.get_lw() < 1
    ]
    assert len(grey) == 39 - 12
