"""Preprocessing: what scikit-learn's steps, fitted on a fold's training rows, give; and nothing of other rows."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

import penalize.path.data.preprocessing as preprocessing
from penalize.errors import ArgumentError, DataError
from penalize.path import regularization_path
from penalize.path.data.folds import make_folds
from penalize.path.data.sources import read_source
from penalize.path.data.targets import read_targets
from penalize.regularizers import L2


def mixed(rows=240, seed=0):
    """A table with numbers of very different sizes, categories, bool, dates, and missing values in each."""
    drawn = np.random.default_rng(seed)
    age = drawn.normal(40, 10, rows)
    age[drawn.random(rows) < 0.1] = np.nan
    colour = drawn.choice(["red", "green", "blue"], rows).astype(object)
    colour[drawn.random(rows) < 0.1] = None
    frame = pd.DataFrame(
        {
            "age": age,
            "income": 1e6 + drawn.normal(0, 1, rows),
            "count": drawn.integers(0, 9, rows),
            "colour": colour,
            "member": drawn.random(rows) < 0.5,
            "size": pd.Categorical(drawn.choice(["S", "M", "L"], rows)),
        }
    )
    return frame, (drawn.random(rows) < 0.5).astype(int)


@pytest.mark.parametrize("computed_once", [0, 2**30])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_fold_is_what_a_pipeline_fitted_on_its_training_rows_gives(dtype, computed_once, monkeypatch):
    monkeypatch.setattr(preprocessing, "COMPUTED_ONCE", computed_once)
    frame, y = mixed()
    data = make_folds(frame, y, "auto", 3, 0, dtype)
    assert (data.x.computed is None) == (computed_once == 0)
    numbers, categories = ["age", "income", "count"], ["colour", "member", "size"]
    text = frame.copy()
    text[categories] = text[categories].astype(object).where(text[categories].notna(), "~missing").astype(str)
    for fold, rows in enumerate(data.train):
        columns = ColumnTransformer(
            [
                ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
                ("categories", OneHotEncoder(handle_unknown="ignore", sparse_output=False), categories),
            ],
        )
        expected = columns.fit(text.iloc[rows.numpy()]).transform(text)
        got = data.x[fold].numpy()
        order = [name for name in data.feature_names if "=" not in name or not name.startswith("age")]
        own = [data.feature_names.index(name) for name in order]
        np.testing.assert_allclose(got[:, own], expected, atol=1e-8 if dtype == torch.float64 else 2e-6)
        np.testing.assert_array_equal(got[:, data.feature_names.index("age=(missing)")], frame["age"].isna())
    assert data.feature_names == (
        *("age", "age=(missing)", "income", "count", "colour=blue", "colour=green", "colour=red", "colour=(missing)"),
        *("member=False", "member=True", "size=L", "size=M", "size=S"),
    )


def test_rows_are_looked_at_alone_or_in_batches(monkeypatch):
    frame, y = mixed(60)
    dense = make_folds(frame, y, "auto", 3, 0, torch.float32).x
    monkeypatch.setattr(preprocessing, "COMPUTED_ONCE", 0)
    lazy = make_folds(frame, y, "auto", 3, 0, torch.float32).x
    folds, rows = torch.arange(3)[:, None], torch.arange(30).reshape(3, 10)
    for place in (1, (0, slice(2)), (2, 7), (1, rows[1]), (folds, rows)):
        assert torch.equal(dense[place], lazy[place])
    assert lazy[folds, rows].shape == (3, 10, 13)
    assert lazy.shape == dense.shape == (3, 60, 13)


def test_validation_rows_change_nothing_of_what_training_rows_become():
    frame, y = mixed()
    data = make_folds(frame, y, "auto", 3, 0, torch.float64)
    others = frame.copy()
    rows, outside = data.train[0].numpy(), data.validation[0].numpy()
    others.loc[outside, "age"] = 1e6
    others.loc[outside, "count"] = 77
    others.loc[outside, "colour"] = "red"
    changed = make_folds(others, y, "auto", 3, 0, torch.float64)
    np.testing.assert_allclose(data.x[0].numpy()[rows], changed.x[0].numpy()[rows], atol=1e-8)


def test_a_level_that_no_training_row_has_is_zero_everywhere():
    frame, y = mixed(60)
    frame["colour"] = "red"
    frame.loc[frame.index[:30], "colour"] = "blue"
    data = make_folds(frame, y, "auto", 3, 0, torch.float32)
    held = int(data.validation[0][0])
    frame.loc[held, "colour"] = "lilac"
    data = make_folds(frame, y, "auto", 3, 0, torch.float32)
    place = data.feature_names.index("colour=lilac")
    assert not data.x[0][:, place].any()
    assert data.x[1][held, place] == 1
    assert data.x[0].shape == data.x[1].shape


def test_a_table_of_categories_alone():
    frame = pd.DataFrame({"city": ["Oslo", "Rome", "Paris"] * 8, "own": [True, False] * 12})
    data = make_folds(frame, np.tile([0, 1], 12), "auto", 3, 0, torch.float64)
    assert data.feature_names == ("city=Oslo", "city=Paris", "city=Rome", "own=False", "own=True")
    expected = pd.get_dummies(frame.astype(str), prefix_sep="=", dtype=float).to_numpy()
    for fold in range(len(data)):
        np.testing.assert_array_equal(data.x[fold].numpy(), expected)


def test_only_the_most_frequent_levels_have_their_own_column():
    rows = 2000
    levels = np.random.default_rng(0).geometric(0.03, rows)
    frame = pd.DataFrame({"city": [f"c{level:03}" for level in levels], "n": np.arange(rows)})
    data = make_folds(frame, levels % 2, "auto", 4, 0, torch.float32)
    names = [name for name in data.feature_names if name.startswith("city=")]
    assert len(names) == 50
    assert names[-1] == "city=(infrequent)"
    common = frame["city"].value_counts()
    assert set(names[:-1]) <= {f"city={level}" for level in common.index[:60]}
    place = data.feature_names.index("city=(infrequent)")
    rare = ~frame["city"].isin([name.removeprefix("city=") for name in names])
    np.testing.assert_array_equal(data.x[1][:, place].numpy(), rare)


def test_dates_become_days_and_text_of_dates_too():
    days = np.arange(40)
    frame = pd.DataFrame(
        {
            "when": pd.Timestamp("1970-01-01") + pd.to_timedelta(days, unit="D"),
            "zone": pd.Timestamp("1970-01-01", tz="UTC") + pd.to_timedelta(days, unit="D"),
            "span": pd.to_timedelta(days, unit="D"),
            "text": [f"1970-{1 + day // 28:02}-{1 + day % 28:02}" for day in days],
            "date": [(pd.Timestamp("1970-01-01") + pd.Timedelta(days=int(day))).date() for day in days],
        }
    )
    source = read_source(frame)
    assert source.names == ("when", "zone", "span", "text", "date")
    for column in source.columns[:3] + source.columns[4:]:
        np.testing.assert_array_equal(column.values, days)
    assert source.columns[3].values[28] == 31


def test_arrays_take_missing_numbers_and_keep_their_shape():
    x = np.random.default_rng(0).normal(size=(40, 3))
    x[::4, 1] = np.nan
    data = make_folds(x, np.arange(40) % 2, "auto", 2, 0, torch.float64)
    assert data.feature_names == ("x0", "x1", "x2", "x1=(missing)")
    rows = data.train[0].numpy()
    filled = SimpleImputer(strategy="median").fit(x[rows]).transform(x)
    np.testing.assert_allclose(data.x[0][:, :3], StandardScaler().fit(filled[rows]).transform(filled), atol=1e-12)
    np.testing.assert_array_equal(data.x[0][:, 3].nonzero().flatten(), range(0, 40, 4))
    images = make_folds(
        np.random.default_rng(0).normal(size=(40, 2, 3)), np.arange(40) % 2, "auto", 2, 0, torch.float32
    )
    assert images.x.shape == (2, 40, 2, 3)
    assert images.x[torch.arange(2)[:, None], torch.zeros(2, 5, dtype=torch.long)].shape == (2, 5, 2, 3)


def test_a_path_of_a_table_from_python():
    frame, y = mixed()
    names = np.array(["no", "yes"])[y]
    seen = []

    def factory(features, outputs):
        seen.append((features, outputs))
        return nn.Linear(features, outputs)

    path = regularization_path(
        factory, frame, pd.Series(names), weights={"weight": L2(1.0)}, strengths=[1e-3, 1.0], folds=3, epochs=2
    )
    assert seen == [(13, 2)]
    assert np.isfinite(path.score).all()
    assert path.settings["features"] == [13]


def test_a_half_precision_model_has_its_inputs_in_its_dtype():
    frame, y = mixed(60)
    assert make_folds(frame, y, "auto", 3, 0, torch.bfloat16).x[0].dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1.0, None, 3.0], "b": [None] * 3}, "column 'b' of x holds nothing but missing values"),
        ({"a": [np.nan] * 3, "b": [None] * 3}, "columns 'a', 'b' of x hold nothing but missing values"),
        ({"a": ["1", "2", "three"]}, "column 'a' of x holds text among its numbers, 'three' in row 3 the first of 1"),
        ({"a": [1, None, "x"]}, "column 'a' of x holds text among its numbers, 'x' in row 3 the first of 1"),
        ({"a": [1.0, np.inf, 2.0]}, "column 'a' of x must hold finite numbers, got infinity in row 2"),
        ({"a": [1j, 2j, 3j]}, "column 'a' of x must hold numbers, text, bool or dates, got complex numbers"),
        ({"a": [[1], [2], [3]]}, "column 'a' of x must hold numbers, text, bool or dates, got list"),
        ({}, "x must have at least one column, got none"),
    ],
)
def test_columns_that_cannot_be_used(columns, message):
    with pytest.raises(DataError, match=message):
        read_source(pd.DataFrame(columns, index=range(3)))


def test_columns_of_the_same_name():
    with pytest.raises(DataError, match="columns of x must have different names, but 'a' is there more than once"):
        read_source(pd.DataFrame(np.ones((3, 2)), columns=["a", "a"]))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.array([["a", "b"]]), "x must hold numbers, or be a DataFrame where it has categories"),
        (np.array([[1.0, np.inf]]), "x must hold finite numbers, got infinity"),
        (np.array([[1.0, np.nan]]), "column x1 of x holds nothing but missing values"),
        (np.array([[[1.0, 2.0]], [[1.0, np.nan]]]), r"x may have missing values where it is \(rows, features\)"),
        (np.ones((0, 3)), r"x must be \(rows, features\), got shape \(0, 3\)"),
    ],
)
def test_arrays_that_cannot_be_used(x, message):
    with pytest.raises(DataError, match=message):
        read_source(x)


@pytest.mark.parametrize(
    ("y", "task", "expected"),
    [
        ([0, 1, 2, 1], "auto", "classification"),
        (list(range(51)), "auto", "regression"),
        (list(range(50)), "auto", "classification"),
        ([0.0, 1.0, 0.0], "auto", "regression"),
        ([0.0, 1.0, 0.0], "classification", "classification"),
        (["a", "b"], "auto", "classification"),
        (["1", "2"], "regression", "regression"),
        ([True, False], "auto", "classification"),
        (pd.Series(["a", "b"], dtype="category"), "auto", "classification"),
        (pd.Series([1, 2], dtype="Int64"), "auto", "classification"),
    ],
)
def test_the_task_that_targets_are_of(y, task, expected):
    targets = read_targets(y, task)
    assert targets.task == expected
    assert targets.outputs == (len(set(y)) if expected == "classification" else 1)
    assert targets.values.dtype == (np.int64 if expected == "classification" else np.float64)


@pytest.mark.parametrize(
    ("y", "task", "error", "message"),
    [
        (
            [1.0, np.nan, 2.0],
            "auto",
            DataError,
            "price must have a value in every row.*missing in 1 of 3, the first row 2",
        ),
        (["a", None], "auto", DataError, "price must have a value in every row"),
        ([1.0, np.inf], "auto", DataError, "price must hold finite numbers, got infinity in row 2"),
        (["a", "a"], "auto", DataError, "at least two classes in price, got 1: 'a'"),
        ([2.5, 2.5], "auto", DataError, "price must vary to be predicted, but every value is 2.5"),
        (["1", "b"], "regression", DataError, "price must hold numbers for regression, got 'b' in row 2"),
        ([[1], [2]], "auto", DataError, r"price must be \(rows,\), got shape \(2, 1\)"),
        ([1, 2], "rank", ArgumentError, "task must be one of 'auto', 'classification', 'regression', got 'rank'"),
    ],
)
def test_targets_that_cannot_be_used(y, task, error, message):
    with pytest.raises(error, match=message):
        read_targets(y, task, "price")


def test_a_class_of_one_row_has_no_folds():
    with pytest.raises(DataError, match="every class must have at least 2 rows, but '7' has 1"):
        make_folds(np.ones((5, 2)), [1, 1, 1, 1, 7], "auto", 2, 0, torch.float32)


@pytest.mark.parametrize("column", ["a=(missing)", "b=x"])
def test_a_column_with_the_name_of_an_input_of_another(column):
    frame = pd.DataFrame({"a": [1.0, np.nan, 2.0], "b": ["x", "y", "x"], column: [0.1, 0.2, 0.3]})
    with pytest.raises(DataError, match=re.escape(f"two inputs would have the name {column!r}")):
        read_source(frame)
