"""Settings for all layers that are made from now on, under the names of `keras.config`."""

from __future__ import annotations

from typing import Any

from penalize.arguments import choice
from penalize.layers.dtypes import DTypePolicy, default_policy, set_default_policy

__all__ = ["dtype_policy", "floatx", "set_dtype_policy", "set_floatx"]


def dtype_policy() -> DTypePolicy:
    """The policy of layers that are given no `dtype`.

    >>> dtype_policy()
    DTypePolicy('float32')
    """
    return default_policy()


def set_dtype_policy(policy: Any) -> None:
    """Use a dtype or policy, such as "mixed_bfloat16", for layers that are given no `dtype`.

    Raises ArgumentError for an unknown name, offering the nearest. Source: Keras 3.15.1, `keras.config`.
    """
    set_default_policy(policy)


def floatx() -> str:
    """The name of the dtype that weights are kept in by default."""
    return str(default_policy().variable_dtype).removeprefix("torch.")


def set_floatx(value: str) -> None:
    """Use "float16", "bfloat16", "float32" or "float64" for layers that are given no `dtype`."""
    set_default_policy(choice("floatx", value, ("float16", "bfloat16", "float32", "float64")))
