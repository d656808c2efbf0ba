"""Grids of strengths, and the choice among them."""

import numpy as np
import pytest
import torch

from penalize.errors import ArgumentError, DataError, StrengthError
from penalize.path.choice import choose, standard_error
from penalize.path.grid import check_strengths, parse_grid


def test_a_grid_is_evenly_spaced_in_logarithms():
    grid = parse_grid("1e-6:1:24")
    assert (grid[0], grid[-1], len(grid)) == (1e-6, 1.0, 24)
    np.testing.assert_allclose(np.diff(np.log(grid)), np.log(1e6) / 23, rtol=1e-9)
    assert parse_grid("0.5:0.5:1") == [0.5]


@pytest.mark.parametrize(
    "bad",
    [
        "0:1:3",
        "-1:1:3",
        "1:0.1:3",
        "nan:1:3",
        "0.1:nan:3",
        "0.1:inf:3",
        "0.1:1:0",
        "0.1:1:-2",
        "0.1:1:1",
        "1:1:3",
        "0.1",
        "0.1:1",
        "0.1:1:3:4",
        "a:b:c",
        "0.1:1:2.5",
        "",
    ],
)
def test_grids_that_are_none(bad):
    with pytest.raises(ArgumentError, match="strengths must be low:high:count with 0 < low < high and count >= 1"):
        parse_grid(bad)


def test_strengths_come_back_ascending_as_numbers():
    assert check_strengths([1, np.float32(0.5), torch.tensor(0.25)]) == [0.25, 0.5, 1.0]


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ([], ArgumentError, "strengths must be a list of positive numbers"),
        ("0.1", ArgumentError, "strengths must be a list of positive numbers"),
        ([0.1, 0.0], StrengthError, "strengths must be above 0"),
        ([0.1, -1], StrengthError, "strengths must be a finite real number >= 0, got -1"),
        ([0.1, float("nan")], StrengthError, "strengths must be a finite real number >= 0, got nan"),
        ([0.1, 0.1], ArgumentError, "strengths must differ"),
    ],
)
def test_strengths_that_cannot_be_used(bad, error, message):
    with pytest.raises(error, match=message):
        check_strengths(bad)


def choices(scores, errors):
    strengths = np.geomspace(0.01, 10, len(scores))
    best, strongest = choose(strengths, np.array(scores), np.array(errors))
    return best, strongest


def test_the_one_standard_error_rule_takes_the_strongest_penalty():
    assert choices([0.90, 0.95, 0.94, 0.80], [0.02] * 4) == (1, 2)
    assert choices([0.94, 0.95, 0.90, 0.80], [0.02] * 4) == (1, 1)


def test_the_margin_is_the_best_ones_own_error():
    assert choices([0.95, 0.93, 0.91], [0.01, 0.5, 0.5]) == (0, 0)
    assert choices([0.95, 0.93, 0.91], [0.04, 0.0, 0.0]) == (0, 2)


def test_of_equal_scores_the_strongest_is_the_best():
    assert choices([0.5, 0.9, 0.9, 0.1], [0.0] * 4) == (2, 2)


def test_a_gap_on_the_way_does_not_hide_a_stronger_one():
    assert choices([0.95, 0.5, 0.94, 0.1], [0.02] * 4) == (0, 2)


def test_scores_that_are_not_finite_are_never_chosen():
    assert choices([0.8, np.nan, 0.7], [0.2, np.nan, 0.1]) == (0, 2)
    assert choices([np.nan, 0.8, np.inf], [np.nan, 0.0, 0.0]) == (1, 1)
    with pytest.raises(DataError, match="no strength gave a finite score"):
        choices([np.nan, np.nan], [0.1, 0.1])


def test_the_standard_error_is_that_of_the_mean():
    scores = np.array([[0.8, 0.9, 1.0, 0.7], [0.5, 0.5, 0.5, 0.5]])
    np.testing.assert_allclose(standard_error(scores), [np.std([0.8, 0.9, 1.0, 0.7], ddof=1) / 2, 0.0])
