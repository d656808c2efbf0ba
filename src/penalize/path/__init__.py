"""Regularization paths: many strengths times folds in one training, and the choice among them."""

from penalize.path.compare import compare_penalties
from penalize.path.comparison import PenaltyComparison
from penalize.path.result import RegularizationPath
from penalize.path.run import regularization_path
from penalize.path.training.stackable import NotStackedWarning

__all__ = [
    "NotStackedWarning",
    "PenaltyComparison",
    "RegularizationPath",
    "compare_penalties",
    "regularization_path",
]
