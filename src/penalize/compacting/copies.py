"""Copies of a model without what belongs to the original alone, and what they compute."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import nn

from penalize.binding import attached
from penalize.compacting.chain import Chain, chain_of
from penalize.errors import ArgumentError, CompactError
from penalize.layers import InputLayer, Layer
from penalize.models import Sequential
from penalize.placement import remove_all_hooks

__all__ = ["Shapes", "bare_copy", "outputs_of", "state_shapes"]

ModelT = TypeVar("ModelT", bound=nn.Module)
Shapes = list[tuple[torch.Size, torch.Size]]


def bare_copy(model: ModelT) -> ModelT:
    """A copy without attached penalties, gradients and optimizer."""
    copied = copy.deepcopy(model)
    for module in copied.modules():
        for penalties in attached(module):
            penalties.detach()
    remove_all_hooks(copied)
    copied.zero_grad(set_to_none=True)
    for module in copied.modules():
        if isinstance(module, Sequential):
            _forget_optimizer(module)
    return copied


def _forget_optimizer(model: Sequential) -> None:
    """The settings of compile stay; one that is an optimizer of the original's own parameters cannot."""
    model._optimizer = None
    if isinstance(model._optimizer_spec, torch.optim.Optimizer):
        model._optimizer_spec = model._loss = model._make_metrics = model._compiled_with = None


@torch.no_grad()
def outputs_of(model: nn.Module, example: torch.Tensor) -> tuple[torch.Tensor, Shapes]:
    """What a model gives in float64 and eval mode, and the shapes of each module's input and output, in its order.

    Raises ArgumentError for inputs that it does not take, CompactError when it does not call its parts as a chain.
    """
    exact = bare_copy(model).double().eval()
    chain = chain_of(exact)
    calls: list[nn.Module] = []
    shapes: Shapes = []

    def record(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        calls.append(module)
        shapes.append((args[0].shape, output.shape))

    for module in {id(link.module): link.module for link in chain.links}.values():
        module.register_forward_hook(record)
    try:
        output = exact(example.double() if example.is_floating_point() else example)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        path = chain.links[len(calls)].path if len(calls) < len(chain.links) else ""
        raise ArgumentError(
            f"compact: {path or 'the model'} does not take an example_input of shape {tuple(example.shape)}, "
            f"{example.dtype}: {error}"
        ) from error
    if [id(module) for module in calls] != [id(link.module) for link in chain.links]:
        raise CompactError(f"compact: the model called {len(calls)} modules, and is a chain of {len(chain.links)}")
    return output, shapes


@torch.no_grad()
def state_shapes(model: nn.Module, example: torch.Tensor) -> None:
    """Let the layers of penalize in a model that was cut know the shapes that they now get and give."""
    exact = bare_copy(model).double().eval()
    shapes: Shapes = []
    output = example.double() if example.is_floating_point() else example
    for link in chain_of(exact).links:
        # Not the containers: they still expect the shapes of before.
        given, output = output, link.module(output)
        shapes.append((given.shape, output.shape))
    _state(chain_of(model), shapes)


def _state(chain: Chain, shapes: Shapes) -> None:
    for link, (shape, _) in zip(chain.links, shapes, strict=True):
        _state_input(link.module, shape)
    for path, container in reversed(chain.containers):
        inside = _shapes_in(path, chain, shapes)
        if not isinstance(container, Sequential) or not inside:
            continue
        _state_input(container, inside[0][0])
        if container.output_shapes:
            prefix = f"{path}." if path else ""
            given = inside[0][0]
            for index in range(len(container)):
                below = _shapes_in(f"{prefix}{index}", chain, shapes)
                given = below[-1][1] if below else given
                container.output_shapes[index] = (None, *given[1:])
            sample = container._last_sample
            container._last_sample = torch.zeros(1, *given[1:], dtype=sample.dtype, device=sample.device)
        own = container.input_layer
        if own is not None and own.batch_shape != (changed := _where_known(own.batch_shape, inside[0][0])):
            dtype = own.dtype_policy if own.dtype_given else None
            container._begin_with(InputLayer(batch_shape=changed, dtype=dtype, name=own.name))


def _shapes_in(path: str, chain: Chain, shapes: Shapes) -> Shapes:
    """The shapes of the modules at or below a path."""
    pairs = zip(chain.links, shapes, strict=True)
    return [each for link, each in pairs if not path or f"{link.path}.".startswith(f"{path}.")]


def _state_input(module: nn.Module, shape: torch.Size) -> None:
    if isinstance(module, Layer) and module.build_shape is not None:
        module.build_shape = _where_known(module.build_shape, shape)


def _where_known(before: Any, shape: torch.Size) -> tuple[int | None, ...]:
    """A shape with the batch axis, and the open sizes, of the one before."""
    sizes = zip(before[1:], shape[1:], strict=True)
    return (before[0], *(None if old is None else new for old, new in sizes))
