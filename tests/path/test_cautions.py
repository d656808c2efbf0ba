"""The sentences that stand beside a choice."""

import numpy as np
import pytest

from penalize.path import RegularizationPath
from penalize.path.cautions import cautions

STRENGTHS = np.array([0.01, 0.1, 1.0, 10.0])


def said(score, error=0.01, zeros=(0.0, 0.1, 0.5, 0.9)):
    return cautions(STRENGTHS, np.array(score), np.full(4, error), np.array(zeros))


@pytest.mark.parametrize(
    ("score", "sentence"),
    [
        ([0.9, 0.8, 0.7, 0.2], "The best strength, 0.01, is the weakest of the grid: a weaker one may be better"),
        ([0.2, 0.7, 0.8, 0.9], "The best strength, 10, is the strongest of the grid: a stronger one may be better"),
        (
            [0.2, 0.9, 0.3, 0.895],
            "The one-standard-error strength, 10, is the strongest of the grid: a stronger one may",
        ),
        ([0.9, 0.9, 0.9, 0.895], "All scores lie within one standard error of the best"),
        ([0.5, 0.9, 0.7, np.nan], "No finite score at 10: never chosen"),
        ([np.nan, 0.9, 0.7, np.nan], "No finite score at 2 of 4, from 0.01 on: never chosen"),
        ([np.nan] * 4, "No strength gave a finite score"),
    ],
)
def test_one_sentence_each(score, sentence):
    (found,) = said(score)
    assert found.startswith(sentence)


def test_nothing_to_say():
    assert said([0.5, 0.9, 0.8, 0.1]) == []


def test_a_grid_that_ends_where_all_is_zero_need_not_end_higher():
    (found,) = said([0.2, 0.7, 0.8, 0.9], zeros=(0, 0.1, 0.5, 1.0))
    assert found == "The best strength, 10, makes all that is penalized zero: a model without it does as well."


def test_a_grid_of_one_strength():
    (found,) = cautions(np.array([1.0]), np.array([0.9]), np.array([0.1]), np.array([0.0]))
    assert found == "The grid has one strength: there is nothing to compare it with."


def test_the_weakest_and_a_lost_one():
    found = said([0.9, 0.5, np.nan, 0.1])
    assert [sentence[:15] for sentence in found] == ["No finite score", "The best streng"]


def test_a_path_says_its_cautions():
    scores = np.array([[0.8, 0.9], [0.5, 0.5], [0.1, 0.2]])
    losses = np.zeros((3, 2))
    path = RegularizationPath(np.array([0.1, 1.0, 10.0]), scores, losses, losses, losses, "accuracy")
    assert path.cautions == cautions(path.strengths, path.score, path.score_se, losses.mean(1))
    assert len(path.cautions) == 1
