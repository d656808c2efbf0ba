"""What a person should know before trusting a choice among strengths."""

from __future__ import annotations

import numpy as np

from penalize.path.choice import choose

__all__ = ["cautions"]

# A leap to all zeros from fewer than these passes over most sparse models.
HALF = 0.5


def cautions(
    strengths: np.ndarray,
    score: np.ndarray,
    score_se: np.ndarray,
    zeros: np.ndarray,
    zeroing_strength: float | None = None,
) -> list[str]:
    """Sentences about a path of ascending strengths; none where there is nothing to say.

    `score`, `score_se` and `zeros` (strengths,) are means over folds. Spoken of are scores that are not finite, a grid
    of one strength, scores that do not differ, a best strength at an edge of the grid, a one-standard-error strength at
    its strongest, a leap from few zeros to nothing but zeros, and, where proximal steps should make all weights zero
    from `zeroing_strength` on, that they did not.

    >>> import numpy as np
    >>> cautions(np.array([0.1, 1.0]), np.array([0.9, 0.2]), np.array([0.01, 0.01]), np.array([0.0, 0.5]))
    ['The best strength, 0.1, is the weakest of the grid: a weaker one may be better, so let the grid begin lower.']
    """
    finite = np.isfinite(score)
    found = [*_not_finite(strengths, finite), *_not_converged(strengths, zeros, zeroing_strength)]
    found += _collapsed(strengths, zeros)
    if not finite.any():
        return found
    if len(strengths) == 1:
        return [*found, "The grid has one strength: there is nothing to compare it with."]
    best, strongest = choose(strengths, score, score_se)
    last = len(strengths) - 1
    margin = score_se[best] if np.isfinite(score_se[best]) else 0.0
    if score[finite].min() >= score[best] - margin:
        return [
            *found,
            "All scores lie within one standard error of the best: these data do not tell the strengths apart.",
        ]
    if best == 0:
        found.append(
            f"The best strength, {strengths[best]:.3g}, is the weakest of the grid: a weaker one may be better, so let "
            f"the grid begin lower."
        )
    if best == last:
        found.append(_at_the_strongest("best", strengths[best], zeros[best], "may be better"))
    elif strongest == last:
        after = "may still be within one standard error"
        found.append(_at_the_strongest("one-standard-error", strengths[strongest], zeros[strongest], after))
    return found


def _not_finite(strengths: np.ndarray, finite: np.ndarray) -> list[str]:
    lost = strengths[~finite]
    if not len(lost):
        return []
    if finite.any():
        where = f"{lost[0]:.3g}" if len(lost) == 1 else f"{len(lost)} of {len(strengths)}, from {lost[0]:.3g} on"
        return [f"No finite score at {where}: never chosen. A lower learning rate may keep these models finite."]
    return ["No strength gave a finite score: lower the learning rate, or look at the data."]


def _not_converged(strengths: np.ndarray, zeros: np.ndarray, zeroing_strength: float | None) -> list[str]:
    """Where the solution is known to be all zeros, the weights that are left tell how far training came."""
    if zeroing_strength is None or not (strengths >= zeroing_strength).any():
        return []
    share = float(zeros[strengths >= zeroing_strength].min())
    if not share < 1:
        return []
    return [
        f"Training has not converged: at {zeroing_strength:.3g}, where the solution is all zeros, {share:.0%} of the "
        "weights are zero; more epochs, a higher learning rate or larger batches come nearer."
    ]


def _collapsed(strengths: np.ndarray, zeros: np.ndarray) -> list[str]:
    """Where everything becomes zero from one strength to the next, as groups do that begin with random weights."""
    leaps = np.flatnonzero((zeros[:-1] < HALF) & (zeros[1:] == 1))
    if not len(leaps):
        return []
    place = int(leaps[0])
    return [
        f"From {strengths[place]:.3g} to {strengths[place + 1]:.3g} the share of exact zeros leaps from "
        f"{zeros[place]:.0%} to 100%: sparser models were not seen. Warm starts, which begin where the next weaker "
        "strength ended and not at the first weights, may find them; with warm starts, a finer grid."
    ]


def _at_the_strongest(which: str, strength: float, zeros: float, stronger: str) -> str:
    begins = f"The {which} strength, {strength:.3g},"
    if zeros == 1:
        # Beyond the strength that zeroes everything, nothing changes.
        return f"{begins} makes all that is penalized zero: a model without it does as well."
    return f"{begins} is the strongest of the grid: a stronger one {stronger}, so let the grid end higher."
