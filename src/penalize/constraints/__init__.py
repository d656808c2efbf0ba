"""Keras's constraints: functions that project a weight, in Keras layout, after each step of training."""

from penalize.constraints.base import Constraint
from penalize.constraints.identifiers import deserialize, get, serialize
from penalize.constraints.norms import MaxNorm, MinMaxNorm, NonNeg, UnitNorm

max_norm = MaxNorm
min_max_norm = MinMaxNorm
non_neg = NonNeg
unit_norm = UnitNorm

__all__ = [
    "Constraint",
    "MaxNorm",
    "MinMaxNorm",
    "NonNeg",
    "UnitNorm",
    "deserialize",
    "get",
    "max_norm",
    "min_max_norm",
    "non_neg",
    "serialize",
    "unit_norm",
]
