"""From a model to the chain of its parts; what is not proven to be one is refused, by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parametrize

from penalize.compacting.kinds import AT_THE_ENDS, PARTS, is_replaced, reason_against
from penalize.compacting.parts import Elementwise, acts_elementwise
from penalize.compacting.places import Part, refusal
from penalize.compacting.units import Units
from penalize.layers import Layer
from penalize.models import Sequential
from penalize.placement import records_penalties
from penalize.regularizers.distributed import is_distributed

__all__ = ["Chain", "Link", "chain_of"]


@dataclass(frozen=True)
class Link:
    """One module of a chain, and the parts that it computes one after the other: an activation of its own is one."""

    path: str
    module: nn.Module
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Chain:
    """The modules that a model calls one after the other, the containers that they stand in, where the last units are.

    `last` is -1 for a model without layers with units.
    """

    links: tuple[Link, ...]
    containers: tuple[tuple[str, nn.Module], ...]
    last: int

    def up_to_last_units(self) -> tuple[Link, ...]:
        """The links without those behind the last layer with units, where nothing is cut."""
        return self.links[: self.last + 1]


def chain_of(model: nn.Module) -> Chain:
    """The chain that a model is. Raises CompactError, naming the module, for what it cannot be proven for."""
    _check_modules(model)
    _check_sharing(model)
    found = list(_walk("", model))
    leaves = [(path, module) for path, module in found if not _is_container(module)]
    with_units = [place for place, (_, module) in enumerate(leaves) if PARTS.get(type(module)) is Units]
    first, last = (with_units[0], with_units[-1]) if with_units else (len(leaves), -1)
    links = []
    for place, (path, module) in enumerate(leaves):
        inner = first <= place < last
        if type(module) not in AT_THE_ENDS:
            links.append(Link(path, module, tuple(_parts(path, module, inner))))
        elif inner:
            raise refusal(path, module, "mixes or moves units between layers; it is taken at the ends of a chain")
        else:
            links.append(Link(path, module, ()))
    return Chain(tuple(links), tuple(item for item in found if _is_container(item[1])), last)


def _walk(path: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every container and leaf in the order of the call; a container before what it holds."""
    yield path, module
    if _is_container(module):
        for name, child in module._modules.items():
            if child is not None:
                yield from _walk(f"{path}.{name}" if path else name, child)


def _is_container(module: nn.Module) -> bool:
    """Whether a module does nothing but call what it holds, one after the other."""
    if is_replaced(module):
        return False
    if isinstance(module, Sequential):
        return type(module).call is Sequential.call and type(module).forward is Layer.forward
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _parts(path: str, module: nn.Module, inner: bool) -> Iterator[Part]:
    kind = PARTS.get(type(module))
    if kind is None or is_replaced(module):
        raise refusal(path, module, reason_against(module))
    part = kind(path, module)
    own = getattr(module, "activation", None)
    if inner or isinstance(part, Units):
        part.check()
    yield part
    if isinstance(part, Units) and own is not None:
        activation = Elementwise(path, module, own)
        if inner:
            activation.check()
        if acts_elementwise(own):
            yield activation


def _check_modules(model: nn.Module) -> None:
    """Refuse what changes weights or outputs beside a module's class, and weights that do not exist yet."""
    for path, module in model.named_modules():
        known = type(module) in PARTS
        if isinstance(module, Layer) and not module.built:
            raise refusal(path, module, "is not built: call the model once")
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(parameter, nn.parameter.UninitializedParameter):
                raise refusal(path, module, "is lazy and not initialized: call the model once")
            if is_distributed(parameter) or parameter.is_meta:
                raise refusal(path, module, f"has no values of its {name} in this process's memory")
        if parametrize.is_parametrized(module):
            raise refusal(path, module, "has parametrized weights: torch.nn.utils.parametrize.remove_parametrizations")
        for hook in [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]:
            if not records_penalties(hook):
                name = getattr(hook, "__qualname__", type(hook).__name__)
                raise refusal(path, module, f"has the forward hook {name}, which may change what it computes")
        for name, _ in module.named_parameters(recurse=False):
            if known and name not in ("weight", "bias", "alpha"):
                raise refusal(path, module, f"has a parameter {name!r}, which its class does not have")


def _check_sharing(model: nn.Module) -> None:
    """Refuse weights and statistics that are used in two places."""
    seen: dict[int, str] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        held: list[tuple[str, torch.Tensor]] = [*module.named_parameters(recurse=False)]
        for name, tensor in [*held, *module.named_buffers(recurse=False)]:
            whole = f"{path}.{name}" if path else name
            if id(tensor) in seen:
                raise refusal(path, module, f"shares {whole} with {seen[id(tensor)]}: shared weights cannot be cut")
            seen[id(tensor)] = whole
