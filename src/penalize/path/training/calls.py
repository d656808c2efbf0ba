"""How stacked models are called: as a chain of batched products, by `vmap`, or one model after another."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from penalize.binding import attached
from penalize.evaluation import total
from penalize.path.training.chain import Chain, chain_of
from penalize.path.training.objective import Loss, stacked_losses
from penalize.placement import ActivityTarget, output_tensors

if TYPE_CHECKING:
    from penalize.path.training.job import Job
    from penalize.path.training.penalized import Paid
    from penalize.path.training.stacked import StackedModels, Tensors

__all__ = ["Calls", "chosen_calls"]


class Calls(Protocol):
    """Gradients and outputs of stacked models."""

    def gradients(self, stack: StackedModels, x: torch.Tensor, y: torch.Tensor) -> Tensors:
        """The gradients of the loss, and of the penalties that are left to autograd, by the names of weights."""

    def outputs(self, stack: StackedModels, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs (models, rows, ...) for rows x that all share, and counts (models, 2) of zeros and of elements in the
        outputs that are penalized."""

    def losses(self, loss: Loss, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The losses (models,) of outputs (models, rows, ...) and y (models, rows)."""


def chosen_calls(model: nn.Module, paid: Paid, job: Job) -> Calls:
    """The fastest way that the model allows."""
    if not job.stacked:
        return OneAfterAnother(model, paid, job)
    chain = None if paid.by_autograd else chain_of(model, job.data.x.shape[2:])
    return ByVmap(model, paid, job) if chain is None else ByChain(chain, job.training.loss)


class ByChain:
    """A chain of linear layers and what acts on each element, whose penalties have gradients in closed form."""

    def __init__(self, chain: Chain, loss: Loss) -> None:
        self.chain = chain
        self.loss = loss

    def gradients(self, stack: StackedModels, x: torch.Tensor, y: torch.Tensor) -> Tensors:
        leaves = {name: weight.detach().requires_grad_() for name, weight in stack.trained.items()}
        with torch.enable_grad():
            outputs = self.chain({**stack.weights, **leaves}, x, stack.model.training)
            total_loss = stacked_losses(self.loss, outputs, y).sum()
        found = torch.autograd.grad(total_loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
        return dict(zip(leaves, found, strict=True))

    @torch.no_grad()
    def outputs(self, stack: StackedModels, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = self.chain(stack.weights, x.expand(len(stack), *x.shape), stack.model.training)
        return outputs, torch.zeros(len(stack), 2)

    def losses(self, loss: Loss, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return stacked_losses(loss, outputs, y)


class _Objective(nn.Module):
    """A model, its loss and its penalties in one call, so that weights swapped in by `functional_call` reach all.

    Gives the loss plus `strength` times the penalties that do not act elsewhere.
    """

    def __init__(self, model: nn.Module, paid: Paid, job: Job) -> None:
        super().__init__()
        (penalties,) = attached(model)
        self.model = model
        self.penalties = penalties
        self.paid = paid
        self.loss = job.training.loss
        self.activities = [target for target in penalties.values() if isinstance(target, ActivityTarget)]

    def forward(self, x: torch.Tensor, y: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
        loss = self.loss(self.model(x), y)
        if not self.paid.by_autograd:
            return loss
        losses = self.penalties.named_losses()
        paid = [value for name, value in losses if name not in self.paid.elsewhere]
        objective: torch.Tensor = loss + strength * total(paid, lambda: loss.device)
        return objective

    def of(self, tensors: Tensors, x: torch.Tensor, y: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
        """The objective of a model with these weights and buffers."""
        named = {f"model.{name}": tensor for name, tensor in tensors.items()}
        objective: torch.Tensor = functional_call(self, named, (x, y, strength))
        return objective

    def evaluate(self, tensors: Tensors, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The output, and the counts of zeros and of elements in the outputs that are penalized."""
        with self.counting() as counts:
            output: torch.Tensor = functional_call(self.model, dict(tensors), (x,))
        return output, torch.stack(counts)

    @contextlib.contextmanager
    def counting(self) -> Iterator[list[torch.Tensor]]:
        """The counts of zeros and of elements in the outputs that are penalized, of what is called inside."""
        counts = [torch.zeros(()), torch.zeros(())]

        def count(module: Any, args: Any, output: Any) -> None:
            for tensor in output_tensors(output):
                counts[0] = counts[0] + (tensor == 0).sum()
                counts[1] = counts[1] + tensor.numel()

        handles = [target.module.register_forward_hook(count) for target in self.activities]
        try:
            yield counts
        finally:
            for handle in handles:
                handle.remove()


class ByVmap:
    """Any model that `torch.func.vmap` takes."""

    def __init__(self, model: nn.Module, paid: Paid, job: Job) -> None:
        self.objective = _Objective(model, paid, job)
        self._gradients: Callable[..., Tensors] = vmap(grad(self._of), in_dims=0, randomness="same")

    def _of(self, trained: Tensors, others: Tensors, x: torch.Tensor, y: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        return self.objective.of({**trained, **others}, x, y, s)

    def gradients(self, stack: StackedModels, x: torch.Tensor, y: torch.Tensor) -> Tensors:
        others = {name: tensor for name, tensor in stack.tensors.items() if name not in stack.trained}
        return self._gradients(dict(stack.trained), others, x, y, stack.strengths)

    @torch.no_grad()
    def outputs(self, stack: StackedModels, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs, counts = vmap(self.objective.evaluate, in_dims=(0, None), randomness="same")(stack.tensors, x)
        return outputs, counts

    def losses(self, loss: Loss, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return stacked_losses(loss, outputs, y)


class OneAfterAnother:
    """Models that no stack takes: the module itself, whose tensors are those of one model at a time."""

    def __init__(self, model: nn.Module, paid: Paid, job: Job) -> None:
        self.objective = _Objective(model, paid, job)

    def gradients(self, stack: StackedModels, x: torch.Tensor, y: torch.Tensor) -> Tensors:
        weights = dict(stack.model.named_parameters())
        each: list[tuple[torch.Tensor, ...]] = []
        for member, strength in enumerate(stack.strengths):
            with self._as(stack, member), torch.enable_grad():
                objective = self.objective(x[member], y[member], strength)
                wanted = [weights[name] for name in stack.trained]
                each.append(torch.autograd.grad(objective, wanted, allow_unused=True, materialize_grads=True))
        return {name: torch.stack(found) for name, found in zip(stack.trained, zip(*each, strict=True), strict=True)}

    @torch.no_grad()
    def outputs(self, stack: StackedModels, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = []
        for member in range(len(stack)):
            with self._as(stack, member), self.objective.counting() as counts:
                found.append((stack.model(x), counts))
        outputs, counted = zip(*found, strict=True)
        return torch.stack(outputs), torch.stack([torch.stack(counts) for counts in counted])

    def losses(self, loss: Loss, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.stack([loss(output, own) for output, own in zip(outputs, y, strict=True)])

    @contextlib.contextmanager
    def _as(self, stack: StackedModels, member: int) -> Iterator[None]:
        """The module as one of the models: its weights and buffers share memory with the stacked ones inside."""
        own = {name: tensor[member] for name, tensor in stack.tensors.items()}
        for name, tensor in [*stack.model.named_parameters(), *stack.model.named_buffers()]:
            tensor.data = own[name]
        yield
        for name, buffer in stack.model.named_buffers():
            # A module may replace a buffer instead of writing into it.
            if buffer.data_ptr() != own[name].data_ptr():
                own[name].copy_(buffer)
