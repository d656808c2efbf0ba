"""WHAT a penalty is: pure tensor mathematics, without modules, hooks or gradient writes."""

from penalize.regularizers.base import Regularizer
from penalize.regularizers.group_lasso import GroupLasso, SparseGroupLasso
from penalize.regularizers.identifiers import deserialize, get, serialize
from penalize.regularizers.norms import L1, L1L2, L2, l1_l2
from penalize.regularizers.orthogonal import OrthogonalRegularizer

l1 = L1
l2 = L2
orthogonal_regularizer = OrthogonalRegularizer

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "GroupLasso",
    "OrthogonalRegularizer",
    "Regularizer",
    "SparseGroupLasso",
    "deserialize",
    "get",
    "l1",
    "l1_l2",
    "l2",
    "orthogonal_regularizer",
    "serialize",
]
