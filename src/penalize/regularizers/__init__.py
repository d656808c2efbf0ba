"""WHAT a penalty is: pure tensor mathematics, without modules, hooks or gradient writes."""

from penalize.regularizers.base import Regularizer
from penalize.regularizers.decorrelation import Decorrelation
from penalize.regularizers.group_lasso import GroupLasso, SparseGroupLasso
from penalize.regularizers.hoyer import HoyerSquare
from penalize.regularizers.identifiers import deserialize, get, serialize
from penalize.regularizers.kl_sparsity import KLSparsity
from penalize.regularizers.largest import LInf
from penalize.regularizers.nonconvex import MCP, SCAD
from penalize.regularizers.norms import L1, L1L2, L2, l1_l2
from penalize.regularizers.nuclear_norm import NuclearNorm
from penalize.regularizers.orthogonal import OrthogonalRegularizer
from penalize.regularizers.spectral_norm import SpectralNorm
from penalize.regularizers.starting_point import L2SP
from penalize.regularizers.total_variation import TotalVariation

l1 = L1
l2 = L2
orthogonal_regularizer = OrthogonalRegularizer

__all__ = [
    "Decorrelation",
    "GroupLasso",
    "HoyerSquare",
    "KLSparsity",
    "L1",
    "L1L2",
    "L2",
    "L2SP",
    "LInf",
    "MCP",
    "NuclearNorm",
    "OrthogonalRegularizer",
    "Regularizer",
    "SCAD",
    "SparseGroupLasso",
    "SpectralNorm",
    "TotalVariation",
    "deserialize",
    "get",
    "l1",
    "l1_l2",
    "l2",
    "orthogonal_regularizer",
    "serialize",
]
