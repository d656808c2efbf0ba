"""Where Keras's weight files keep each weight of a model: `layers/dense_1/vars/0`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from penalize.errors import ConfigError, NotBuiltError
from penalize.layers.layer import Layer
from penalize.layers.naming import snake_case
from penalize.layers.weights import Weight
from penalize.placement import Layout
from penalize.registry import built_ins

__all__ = ["Group", "SavedWeight", "groups_of"]

# What Keras calls a class whose public name is another.
CLASS_NAMES = {"GroupQueryAttention": "GroupedQueryAttention"}


@dataclass(frozen=True)
class SavedWeight:
    """One weight of a model: its path in files, its name for errors, and the tensor in torch's layout."""

    path: str
    label: str
    layout: Layout
    tensor: torch.Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in Keras's layout, which files have."""
        return tuple(self.layout.to_keras(self.tensor.detach()).shape)


@dataclass(frozen=True)
class Group:
    """The weights that one layer holds itself."""

    path: str
    name: str
    weights: tuple[SavedWeight, ...]


def groups_of(model: Layer) -> list[Group]:
    """Every layer of a model, itself first, once each, with its own weights: first those that are trained.

    Raises NotBuiltError for a layer whose weights do not exist yet, ConfigError for a torch module with weights, which
    has no place in Keras's files.
    """
    return list(_visit(model, "", set()))


def _visit(layer: Layer, path: str, seen: set[int]) -> Iterator[Group]:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    if not layer.built and any(isinstance(weight, Weight) for weight in layer.declarations.weights.values()):
        raise NotBuiltError(f"{layer.name} is not built: call the model once, or begin with an Input")
    prefix = f"{path}/" if path else ""
    yield Group(path, layer.name, tuple(_own_weights(layer, f"{prefix}vars")))
    for name, part in layer.parts_in_files():
        if isinstance(part, Layer):
            yield from _visit(part, f"{prefix}{name}", seen)
        elif isinstance(part, list | nn.ModuleList | nn.ModuleDict):
            parts: Iterable[Any] = part.values() if isinstance(part, nn.ModuleDict) else part
            yield from _visit_all(layer, parts, f"{prefix}{name}", seen)
        else:
            _refuse_weights(layer, part)


def _visit_all(holder: Layer, parts: Iterable[Any], path: str, seen: set[int]) -> Iterator[Group]:
    """Layers in a list are counted by class: dense, dense_1, ..."""
    counts: Counter[str] = Counter()
    for part in parts:
        if not isinstance(part, Layer):
            _refuse_weights(holder, part)
            continue
        kind = class_name_of(part)
        name = snake_case(CLASS_NAMES.get(kind, kind))
        number = counts[name]
        counts[name] += 1
        yield from _visit(part, f"{path}/{name}_{number}" if number else f"{path}/{name}", seen)


def class_name_of(layer: Layer) -> str:
    """The class that a file says a layer is of."""
    return str(getattr(layer, "class_name_in_files", type(layer).__name__))


def _own_weights(layer: Layer, path: str) -> Iterator[SavedWeight]:
    declared = [weight for weight in layer.declarations.weights.values() if isinstance(weight, Weight)]
    declared.sort(key=lambda weight: not weight.trainable or weight.buffer)
    own: dict[str, torch.Tensor] = dict(layer.named_parameters(recurse=False))
    buffers = dict(layer.named_buffers(recurse=False))
    buffers = {name: buffers[name] for name in buffers if name not in layer._non_persistent_buffers_set}
    # Of our layers, only what Keras's have, too.
    ours = any(entry.factory is type(layer) for entry in built_ins("layer"))
    attributes_of_declared = {weight.attribute for weight in declared}
    own |= {name: buffer for name, buffer in buffers.items() if not ours or name in attributes_of_declared}
    names = {weight.attribute: weight.name for weight in declared}
    layouts = {weight.attribute: weight.layout for weight in declared}
    attributes = [*(name for name in names if name in own), *(name for name in own if name not in names)]
    for index, attribute in enumerate(attributes):
        label = f"{layer.name}.{names.get(attribute, attribute)}"
        yield SavedWeight(f"{path}/{index}", label, layouts.get(attribute, Layout()), own[attribute])


def _refuse_weights(layer: Layer, part: Any) -> None:
    if isinstance(part, nn.Module) and next(iter(part.state_dict()), None) is not None:
        raise ConfigError(
            f"{layer.name}: {type(part).__name__} is a torch module, which Keras's files have no place for; "
            "save the weights as .safetensors"
        )
