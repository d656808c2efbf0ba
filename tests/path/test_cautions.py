"""The sentences that stand beside a choice."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from torch import nn

from penalize.path import RegularizationPath, regularization_path
from penalize.path.cautions import cautions
from penalize.regularizers import L1

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


def test_a_leap_to_nothing_but_zeros():
    score = [0.5, 0.9, 0.8, 0.1]
    (found,) = said(score, zeros=(0.0, 0.1, 1.0, 1.0))
    assert found.startswith("From 0.1 to 1 the share of exact zeros leaps from 10% to 100%: sparser models were not")
    assert "Warm starts, which begin where the next weaker strength ended" in found
    assert said(score, zeros=(0.0, 0.1, 0.6, 1.0)) == said(score, zeros=(1.0, 1.0, 1.0, 1.0)) == []
    assert said(score, zeros=(0.0, 0.1, 0.4, 0.6)) == []


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


def test_training_that_has_not_converged_is_told_by_the_zeros_where_all_should_be():
    score, error = np.array([0.5, 0.9, 0.8, 0.1]), np.full(4, 0.01)
    for zeros, said_so in ((0.876, True), (1.0, False), (np.nan, False)):
        found = cautions(STRENGTHS, score, error, np.array([0, 0, 0.5, zeros]), 10.0)
        assert len(found) == said_so
    assert cautions(STRENGTHS, score, error, np.zeros(4), 20.0) == []
    (sentence,) = cautions(STRENGTHS, score, error, np.array([0, 0, 0.5, 0.876]), 10.0)
    assert sentence.startswith("Training has not converged: at 10, where the solution is all zeros, 88% of the weights")


@pytest.mark.parametrize(("proximal", "epochs", "count"), [(True, 1, 1), (True, 60, 0), (False, 1, 0)])
def test_a_path_knows_the_strength_that_should_zero_everything(proximal, epochs, count):
    x, y = load_diabetes(return_X_y=True)
    path = regularization_path(
        nn.Linear(10, 1),
        x,
        y,
        weights={"weight": L1(1.0)},
        proximal=proximal,
        epochs=epochs,
        batch_size=500,
        learning_rate=0.05,
        folds=2,
        progress=False,
    )
    assert path.settings["zeroing_strength"] == path.strengths[-1]
    assert sum("not converged" in sentence for sentence in path.cautions) == count
