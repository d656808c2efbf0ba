"""The parameter that an optimizer holds, where `fully_shard` has put another tensor in its place for a while.

From a forward until the backward after it, `fully_shard` may leave the whole parameters on its modules, or parts of
them on a smaller mesh, in the dtype of its mixed precision. Penalties are those of the sharded parameters at any time.
"""

from __future__ import annotations

import sys
import weakref
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from penalize.errors import TargetError

__all__ = ["refuse_flattened", "sharded_parameter"]

# torch has no public way from a module to its sharded parameters while others stand in their place; what is used here
# is held by tests/reach. Weak, so that no model is kept.
_known: weakref.WeakKeyDictionary[nn.Module, dict[str, weakref.ref[Any]]] = weakref.WeakKeyDictionary()


def sharded_parameter(module: nn.Module, attribute: str, held: torch.Tensor) -> torch.Tensor:
    """The sharded parameter that belongs under an attribute of a module; `held` where `fully_shard` has none."""
    if torch.compiler.is_compiling():
        return held
    states = sys.modules.get("torch.distributed._composable_state")
    if states is None or "torch.distributed.fsdp" not in sys.modules or not states._module_state_mapping:
        return held
    reference = _known.get(module, {}).get(attribute)
    found = None if reference is None else reference()
    if found is None:
        found = _search(states, module, attribute)
    if found is None:
        return held
    parameter: torch.Tensor = found.sharded_param
    # A parameter that was put there by somebody else is what counts.
    return parameter if any(held is each for each in _stand_ins(found)) else held


def refuse_flattened(tensor: torch.Tensor, name: str) -> None:
    """TargetError for what `FullyShardedDataParallel` makes of parameters: pieces of one flat row."""
    if torch.compiler.is_compiling() or "torch.distributed.fsdp" not in sys.modules or is_lazy(tensor):
        return
    base = tensor._base if tensor._is_view() else None
    if any(getattr(each, mark, False) for each in (tensor, base) for mark in ("_fsdp_flattened", "_is_flat_param")):
        raise TargetError(
            f"{name}: FullyShardedDataParallel flattened this parameter, so that its penalty cannot be told; shard the "
            "model with torch.distributed.fsdp.fully_shard instead"
        )


def _search(states: Any, module: nn.Module, attribute: str) -> Any:
    for reference in list(states._module_state_mapping.values()):
        for group in getattr(reference(), "_fsdp_param_groups", ()):
            for each in group.fsdp_params:
                info = each._module_info
                modules = [info.module, *info.shared_modules]
                for holder, name in zip(modules, [info.param_name, *info.shared_param_names], strict=True):
                    if holder is module and name == attribute:
                        _known.setdefault(module, {})[attribute] = weakref.ref(each)
                        return each
    return None


def _stand_ins(found: Any) -> list[Any]:
    return [getattr(found, name, None) for name in ("sharded_param", "_unsharded_param", "_sharded_post_forward_param")]
