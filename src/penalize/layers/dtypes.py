"""Dtype policies: the dtype that weights are kept in, and the one that a layer computes in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from penalize.arguments import DTYPES, as_dtype
from penalize.errors import ArgumentError, nearest

__all__ = ["DTypePolicy", "as_policy", "default_policy", "set_default_policy"]

MIXED = {"mixed_float16": torch.float16, "mixed_bfloat16": torch.bfloat16}


class DTypePolicy:
    """`variable_dtype` for weights, `compute_dtype` for everything else; both the same unless the name says "mixed".

    Parameters: `name`, a floating dtype's name, "mixed_float16" or "mixed_bfloat16" (weights in float32, computation in
    half precision; penalties of weights are of the float32 weights, and all penalties are summed in float32).
    Small gradients are lost in float16 unless the loss is scaled: there, `fit(trainer={"precision": "16-mixed"})` of a
    float32 model is the better way.

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
        # Whether weights are cast before they are computed with.
        self.mixed = name in MIXED

    def __repr__(self) -> str:
        return f"DTypePolicy({self.name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def get_config(self) -> dict[str, Any]:
        """The constructor's argument."""
        return {"name": self.name}


_default = [DTypePolicy()]


def default_policy() -> DTypePolicy:
    """The policy of layers that are made without a `dtype`: float32, unless `set_default_policy` changed it."""
    return _default[0]


def set_default_policy(policy: Any) -> None:
    """Make layers from now on with this policy, where they are given no `dtype`."""
    _default[0] = as_policy(policy, "dtype policy")


def as_policy(identifier: Any, where: str) -> DTypePolicy:
    """The policy of a name, a torch dtype, a policy, or Keras's config of one; the default one for None.

    >>> as_policy(torch.float64, "dense")
    DTypePolicy('float64')
    """
    if identifier is None:
        return default_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, torch.dtype):
        return DTypePolicy(str(identifier).removeprefix("torch."), where)
    if isinstance(identifier, Mapping) and isinstance(identifier.get("config"), Mapping):
        return DTypePolicy(identifier["config"].get("name"), where)
    return DTypePolicy(identifier, where)
