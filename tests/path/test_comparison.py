"""Several penalties in one call."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_wine
from torch import nn

import penalize.path.compare as compare
from penalize.errors import (
    ArgumentError,
    DataError,
    FileFormatError,
    InterruptedTrainingError,
    StrengthError,
    TargetError,
)
from penalize.path import PenaltyComparison, RegularizationPath, compare_penalties, regularization_path
from penalize.path.mixing import mixed
from penalize.path.network import multilayer_perceptron
from penalize.path.report.table import print_comparison
from penalize.regularizers import L1, L1L2, L2

SETTINGS = {
    "strengths": [1e-3, 0.1],
    "folds": 3,
    "epochs": 3,
    "batch_size": 64,
    "learning_rate": 0.02,
    "progress": False,
}
PENALTIES = {
    "lasso": {"weights": {"*.weight": L1(1.0)}, "proximal": True, "strengths": [1e-3, 1e-2, 0.1]},
    "net": {"weights": {"*.weight": L1L2(1.0, 2.0), "*.bias": L2(1.0)}, "mixing": [0.25, 1.0], "proximal": True},
    "activity": {"activity": {nn.ReLU: "l1"}},
}


@pytest.fixture(scope="module")
def comparison():
    x, y = load_wine(return_X_y=True)
    return compare_penalties(lambda: multilayer_perceptron(13, [4], 3), x, y, PENALTIES, **SETTINGS)


@pytest.fixture
def without_report(monkeypatch):
    """Saving without the figures of report.html, which has tests of its own."""
    for place in ("saved", "comparison"):
        monkeypatch.setattr(f"penalize.path.{place}.html_report", lambda result: "<html></html>")


def made(**scores):
    """A comparison of paths with these scores (strengths, folds) and shares of zeros (strengths,)."""
    paths = {}
    for name, (score, zeros) in scores.items():
        array = np.array(score)
        losses = np.where(np.isnan(array), np.nan, 1.0)
        shares = np.repeat(np.array(zeros)[:, None], array.shape[1], axis=1)
        strengths = np.geomspace(0.1, 10, len(array))
        paths[name] = RegularizationPath(strengths, array, losses, losses, shares, "accuracy", {"penalty": name})
    return PenaltyComparison(paths)


def test_each_penalty_has_the_path_that_it_has_alone(comparison):
    x, y = load_wine(return_X_y=True)
    assert list(comparison) == ["lasso", "net (mixing 0.25)", "net (mixing 1)", "activity"]
    alone = {
        "lasso": {**SETTINGS, **PENALTIES["lasso"]},
        "net (mixing 0.25)": {
            **SETTINGS,
            "weights": {"*.weight": L1L2(0.25, 1.5), "*.bias": L2(1.0)},
            "proximal": True,
        },
        "net (mixing 1)": {**SETTINGS, "weights": {"*.weight": L1L2(1.0, 0.0), "*.bias": L2(1.0)}, "proximal": True},
        "activity": {**SETTINGS, "activity": {nn.ReLU: L1(0.01)}},
    }
    for name, settings in alone.items():
        path = regularization_path(lambda: multilayer_perceptron(13, [4], 3), x, y, **settings)
        for array in ("strengths", "fold_scores", "fold_val_losses", "fold_zeros"):
            np.testing.assert_array_equal(getattr(comparison[name], array), getattr(path, array))
        assert comparison[name].settings["penalty"] == name
    assert comparison["net (mixing 0.25)"].settings["mixing"] == 0.25
    assert "mixing" not in comparison["lasso"].settings


def test_data_are_in_memory_once(comparison):
    jobs = [path.all_rows.job for path in comparison.values()]
    assert all(job.data is jobs[0].data for job in jobs)
    assert len({id(job.base) for job in jobs}) == len(jobs)


def test_all_begin_with_the_same_weights_although_the_function_makes_others():
    x, y = load_wine(return_X_y=True)
    made_so_far = []

    def factory():
        made_so_far.append(1)
        model = nn.Linear(13, 3)
        with torch.no_grad():
            model.weight.fill_(len(made_so_far))
        return model

    same = {"weights": {"weight": L2(1.0)}}
    found = compare_penalties(factory, x, y, {"a": same, "b": same}, **SETTINGS)
    assert len(made_so_far) == 1
    np.testing.assert_array_equal(found["a"].fold_val_losses, found["b"].fold_val_losses)


def test_the_frame_has_the_penalty_in_front(comparison):
    frame = comparison.to_frame()
    assert list(frame.columns) == ["penalty", "strength", "train_loss", "val_loss", "score", "score_se", "zeros"]
    assert (
        frame["penalty"].tolist()
        == ["lasso"] * 3 + ["net (mixing 0.25)"] * 2 + ["net (mixing 1)"] * 2 + ["activity"] * 2
    )
    part = frame[frame["penalty"] == "lasso"].drop(columns="penalty").reset_index(drop=True)
    pd.testing.assert_frame_equal(part, comparison["lasso"].to_frame())


def test_the_best_of_all_and_the_sparsest_within_one_standard_error():
    found = made(
        a=([[0.8, 0.9], [0.7, 0.9], [0.2, 0.2]], [0.0, 0.4, 0.9]),
        b=([[0.9, 0.92], [0.88, 0.9], [0.2, 0.2]], [0.1, 0.2, 0.9]),
        c=([[0.895, 0.905], [np.nan, 0.9], [0.5, 0.5]], [0.5, 0.6, 0.9]),
    )
    assert found.best == ("b", 0.1)
    assert found.best_1se == ("c", 0.1)
    dense = made(a=([[0.9, 0.92], [0.9, 0.91]], [0, 0]), b=([[0.9, 0.92], [0.9, 0.92]], [0, 0]))
    assert dense.best == ("a", 0.1)
    assert dense.best_1se == ("b", 10.0)


def test_penalties_without_a_finite_score_are_never_chosen(capsys):
    lost = ([[np.nan, 0.9], [0.9, np.nan]], [0.1, 0.2])
    found = made(lost=lost, kept=([[0.5, 0.6], [0.5, 0.55]], [0.1, 0.2]))
    assert found.plot().axes
    assert found.best[0] == found.best_1se[0] == "kept"
    assert found.cautions[0] == "lost: No strength gave a finite score: lower the learning rate, or look at the data."
    print_comparison(found, "title")
    assert "not finite" in capsys.readouterr().out
    with pytest.raises(DataError, match="no penalty gave a finite score"):
        made(lost=lost).best  # noqa: B018


def test_the_table_and_the_picture(comparison, tmp_path, capsys):
    print_comparison(comparison, "title")
    printed = capsys.readouterr().out
    for name in comparison:
        assert name in printed
    best, strength = comparison.best
    assert f"best: {best} at {strength:.6g}" in printed
    assert "one standard error: " in printed
    figure = comparison.plot(tmp_path / "comparison.png")
    assert (tmp_path / "comparison.png").stat().st_size > 10_000
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == [*comparison, f"best: {best}, {strength:.3g}"]
    figure.canvas.draw()
    assert not any(axis.get_window_extent().overlaps(legend.get_window_extent()) for axis in figure.axes)


def test_a_saved_comparison_is_read_back_equal(comparison, tmp_path):
    model = multilayer_perceptron(13, [4], 3)
    two = PenaltyComparison({name: comparison[name] for name in ("lasso", "activity")})
    two["lasso"].refit()
    files = two.save(tmp_path / "new")
    names = {str(file.relative_to(tmp_path / "new")) for file in files}
    assert {"comparison.csv", "comparison.json", "comparison.png", "report.html", "penalty-1/path.safetensors"} < names
    assert "penalty-2/path.json" in names
    again = PenaltyComparison.load(tmp_path / "new", model=model)
    assert again == two
    assert again != comparison
    x = torch.tensor(load_wine().data)
    assert torch.equal(again["lasso"].model(0.1)(x), two["lasso"].model(0.1)(x))
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "new" / "comparison.csv"), two.to_frame())
    with pytest.raises(ArgumentError, match=r"were not saved: call refit\(\)"):
        again["activity"].coefficients()


def test_folders_that_save_did_not_write_are_refused(tmp_path, without_report):
    path = ([[0.5, 0.6], [0.5, 0.55]], [0.1, 0.2])
    found = made(a=path, b=path)
    found.save(tmp_path)
    with pytest.raises(ArgumentError, match=r"model has nothing to hold here: call refit\(\) of each path before"):
        PenaltyComparison.load(tmp_path, model=nn.Linear(2, 1))
    file = tmp_path / "comparison.json"
    text = file.read_text()
    for changed, message in (
        (text.replace('"b"', '"c"'), "penalty-2: this is not the path of penalty 'c'"),
        (text.replace('"b"', '"a"'), "penalties must be a list of different names"),
        (text.replace('"b"', "1"), "penalties must be a list of different names"),
        (text.replace("penalize.comparison", "penalize.path"), "this is no file of"),
        (text[:40], "no JSON"),
    ):
        file.write_text(changed)
        with pytest.raises(FileFormatError, match=message):
            PenaltyComparison.load(tmp_path)


def test_names_that_are_none(comparison):
    with pytest.raises(TargetError, match="no penalty is named 'laso': did you mean 'lasso'"):
        comparison["laso"]
    assert comparison.get("laso") is None
    assert "laso" not in comparison
    assert repr(comparison) == "PenaltyComparison(lasso, net (mixing 0.25), net (mixing 1), activity)"


RULE = {"weight": L2(1.0)}


@pytest.mark.parametrize(
    ("penalties", "settings", "error", "message"),
    [
        ({}, {}, ArgumentError, "penalties must be a dict from names to settings"),
        ([RULE], {}, ArgumentError, "penalties must be a dict from names to settings"),
        ({"a": L2()}, {}, ArgumentError, "penalty 'a': expected a dict with weights or activity, got L2"),
        ({1: {"weights": RULE}}, {}, ArgumentError, "a name must be printable text, got 1"),
        ({"\n": {"weights": RULE}}, {}, ArgumentError, "a name must be printable text"),
        ({"a": {"wights": RULE}}, {}, ArgumentError, "penalty 'a': unknown key 'wights': did you mean 'weights'"),
        ({"a": {"weights": RULE, "folds": 3}}, {}, ArgumentError, "penalty 'a': unknown key 'folds'"),
        ({"a": {"weights": RULE}}, {"weights": RULE}, ArgumentError, "weights belongs into each of penalties"),
        (
            {"a": {"weights": RULE}, "b": {"weights": {"wait": "l1"}}},
            {},
            TargetError,
            r"penalty 'b': weights\['wait'\]",
        ),
        ({"a": {"weights": RULE}, "b": {}}, {}, TargetError, "penalty 'b': nothing to penalize"),
        ({"a": {"weights": RULE, "strengths": [-1]}}, {}, StrengthError, "penalty 'a': strengths must be a finite"),
        ({"a": {"weights": RULE, "proximal": 1}}, {}, ArgumentError, "penalty 'a': proximal must be True or False"),
        (
            {"a": {"weights": RULE, "mixing": [0.5]}},
            {},
            ArgumentError,
            "penalty 'a': mixing needs an L1L2 among the rules",
        ),
        ({"a": {"weights": {"weight": "l1l2"}, "mixing": []}}, {}, ArgumentError, "mixing must be a list of numbers"),
        ({"a": {"weights": {"weight": "l1l2"}, "mixing": 0.5}}, {}, ArgumentError, "mixing must be a list of numbers"),
        (
            {"a": {"weights": {"weight": "l1l2"}, "mixing": [1.5]}},
            {},
            ArgumentError,
            "mixing must be a number between 0 and 1",
        ),
        (
            {"a": {"weights": {"weight": "l1l2"}, "mixing": [1, 1]}},
            {},
            ArgumentError,
            "mixing must be numbers that differ",
        ),
        (
            {"a": {"weights": {"weight": "l1l2"}, "mixing": [0.5]}, "a (mixing 0.5)": {"weights": RULE}},
            {},
            ArgumentError,
            r"two paths have the name 'a \(mixing 0.5\)'",
        ),
        ({"a": {"weights": RULE}}, {"seed": -1}, ArgumentError, "seed must be an integer >= 0"),
        ({"a": {"weights": RULE}}, {"resume": 3}, ArgumentError, "resume must be a folder, got 3"),
        ({"a": {"weights": RULE}}, {"folds": 1}, ArgumentError, "penalty 'a': folds must be an integer"),
    ],
)
def test_bad_penalties_are_refused_before_training(monkeypatch, penalties, settings, error, message):
    def refuses(*args):
        raise AssertionError("trained")

    monkeypatch.setattr("penalize.path.backends.local.train_chunk", refuses)
    x, y = load_wine(return_X_y=True)
    with pytest.raises(error, match=message):
        compare_penalties(nn.Linear(13, 3), x, y, penalties, **{**SETTINGS, **settings})


def test_an_interrupted_comparison_goes_on_from_what_is_finished(tmp_path, monkeypatch):
    x, y = load_wine(return_X_y=True)
    penalties = {"a": {"weights": RULE}, "b": {"weights": {"weight": L2(2.0)}}}
    settings = {**SETTINGS, "resume": tmp_path / "kept"}
    path = compare.regularization_path

    def interrupts(*args, **keywords):
        if keywords["resume"].name == "penalty-2":
            raise InterruptedTrainingError(f"interrupted; call again with resume={str(keywords['resume'])!r} to go on")
        return path(*args, **keywords)

    monkeypatch.setattr(compare, "regularization_path", interrupts)
    with pytest.raises(InterruptedTrainingError, match=r"^penalty 'b', 2 of 2: .*resume='.*kept' to go on$"):
        compare_penalties(nn.Linear(13, 3), x, y, penalties, **settings)
    monkeypatch.undo()
    model = nn.Linear(13, 3)
    first = compare_penalties(model, x, y, penalties, **{**settings, "resume": tmp_path / "other"})
    assert sorted(folder.name for folder in (tmp_path / "other").iterdir()) == ["penalty-1", "penalty-2"]
    monkeypatch.setattr("penalize.path.backends.local.train_chunk", lambda *args: pytest.fail("trained again"))
    again = compare_penalties(model, x, y, penalties, **{**settings, "resume": str(tmp_path / "other")})
    np.testing.assert_array_equal(again["b"].fold_val_losses, first["b"].fold_val_losses)


def test_mixing_leaves_other_rules_alone():
    rules = {"a": L1L2(1.0, 2.0), "b": L1(3.0), "c": None, "d": "l1l2"}
    found = mixed(rules, 0.5)
    assert (found["a"].l1, found["a"].l2) == (0.5, 1.0)
    assert found["b"] is rules["b"]
    assert found["c"] is None
    assert (found["d"].l1, found["d"].l2) == (0.005, 0.005)
    assert mixed(None, 0.5) is None


def test_a_function_of_features_and_outputs_is_given_them(tmp_path, without_report):
    x, y = load_wine(return_X_y=True)
    calls = []

    def factory(features, outputs):
        calls.append((features, outputs))
        return nn.Linear(features, outputs)

    found = compare_penalties(factory, x, y, {"a": {"weights": RULE}}, **SETTINGS)
    found["a"].refit()
    found.save(tmp_path)
    again = PenaltyComparison.load(tmp_path, model=factory)
    assert torch.equal(again["a"].model(0.1).model.weight, found["a"].model(0.1).model.weight)
    assert RegularizationPath.load(tmp_path / "penalty-1", model=factory) == found["a"]
    assert calls == [(13, 3)] * 3
