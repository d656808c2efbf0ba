"""Dtype policies: the dtype that weights are kept in, and the one that a layer computes in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from penalize.arguments import DTYPES, as_dtype
from penalize.errors import ArgumentError, nearest

__all__ = ["DTypePolicy", "as_policy"]

MIXED = {"mixed_float16": torch.float16, "mixed_bfloat16": torch.bfloat16}


class DTypePolicy:
    """`variable_dtype` for weights, `compute_dtype` for everything else; both the same unless the name says "mixed".

    Parameters: `name`, a floating dtype's name, "mixed_float16" or "mixed_bfloat16" (weights in float32, computation in
    half precision; penalties of weights are of the float32 weights, and all penalties are summed in float32).

    Raises ArgumentError for another name. Source: Keras 3.15.1, `keras.dtype_policies.DTypePolicy`.

    >>> DTypePolicy("mixed_bfloat16").compute_dtype
    torch.bfloat16
    """

    def __init__(self, name: str = "float32", where: str = "") -> None:
        if not isinstance(name, str) or name not in (*MIXED, *DTYPES):
            prefix = f"{where}: " if where else ""
            offer = nearest(str(name)[:80], (*MIXED, *DTYPES))
            raise ArgumentError(f"{prefix}unknown dtype {name!r:.80}: {offer}")
        self.name = name
        self.variable_dtype = as_dtype("float32" if name in MIXED else name)
        self.compute_dtype = MIXED.get(name, self.variable_dtype)

    @property
    def mixed(self) -> bool:
        """Whether weights are cast before they are computed with."""
        return self.variable_dtype != self.compute_dtype

    def __repr__(self) -> str:
        return f"DTypePolicy({self.name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def get_config(self) -> dict[str, Any]:
        """The constructor's argument."""
        return {"name": self.name}


def as_policy(identifier: Any, where: str) -> DTypePolicy:
    """The policy of a name, a torch dtype, a policy, or Keras's config of one; float32 for None.

    >>> as_policy(torch.float64, "dense")
    DTypePolicy('float64')
    """
    if identifier is None:
        return DTypePolicy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, torch.dtype):
        return DTypePolicy(str(identifier).removeprefix("torch."), where)
    if isinstance(identifier, Mapping) and isinstance(identifier.get("config"), Mapping):
        return DTypePolicy(identifier["config"].get("name"), where)
    return DTypePolicy(identifier, where)
