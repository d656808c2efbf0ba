"""The names of `keras.mixed_precision` for what `penalize.config` does."""

from penalize.config import dtype_policy as global_policy
from penalize.config import set_dtype_policy as set_global_policy
from penalize.layers.dtypes import DTypePolicy

Policy = DTypePolicy

__all__ = ["DTypePolicy", "Policy", "global_policy", "set_global_policy"]
