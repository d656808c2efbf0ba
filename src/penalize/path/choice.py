"""Choosing a strength: the best score, and the strongest penalty within one standard error of it."""

from __future__ import annotations

import numpy as np

from penalize.errors import DataError

__all__ = ["choose", "standard_error"]


def standard_error(scores: np.ndarray) -> np.ndarray:
    """The standard error of the mean over folds, for scores (strengths, folds): std(ddof=1) / sqrt(folds)."""
    error: np.ndarray = scores.std(axis=1, ddof=1) / np.sqrt(scores.shape[1])
    return error


def choose(strengths: np.ndarray, score: np.ndarray, score_se: np.ndarray) -> tuple[int, int]:
    """The places of the best strength and of the one-standard-error strength.

    The best has the highest mean score, the strongest penalty of several. The other is the STRONGEST penalty whose mean
    score is not below the best score minus the best's standard error (Breiman et al., CART, 1984). Strengths whose
    score is NaN are never chosen; DataError when all are.

    >>> import numpy as np
    >>> choose(np.array([0.1, 1.0, 10.0]), np.array([0.9, 0.88, 0.5]), np.array([0.03, 0.03, 0.03]))
    (0, 1)
    """
    finite = np.isfinite(score)
    if not finite.any():
        raise DataError("no strength gave a finite score: lower the learning rate, or look at the data")
    order = np.argsort(strengths)[::-1]
    best = next(int(place) for place in order if finite[place] and score[place] == score[finite].max())
    # With a single finite fold score there is no standard error; then only equals of the best remain.
    margin = score_se[best] if np.isfinite(score_se[best]) else 0.0
    strongest = next(int(place) for place in order if finite[place] and score[place] >= score[best] - margin)
    return best, strongest
