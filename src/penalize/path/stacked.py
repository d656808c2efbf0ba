"""Training a stack of models at once, one for each pair of a strength and a fold, by `torch.func`."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad, vmap

from penalize.binding import Penalties, attached
from penalize.binding.step_sizes import step_sizes
from penalize.errors import PenalizeError
from penalize.evaluation import total
from penalize.path.folds import Folds
from penalize.placement import WeightTarget
from penalize.regularizers.base import has_diagonal_prox

__all__ = ["StackedModels", "data_loss", "proximal_targets", "train_stack"]


def data_loss(output: torch.Tensor, y: torch.Tensor, task: str) -> torch.Tensor:
    """The mean cross-entropy of logits (batch, classes), or the mean squared error of outputs (batch, 1)."""
    if task == "classification":
        return F.cross_entropy(output, y)
    return F.mse_loss(output.reshape(y.shape), y)


class _Objective(nn.Module):
    """A model and its penalties in one call, so that weights swapped in by `functional_call` reach both.

    Those that take proximal steps are left out.
    """

    def __init__(self, model: nn.Module, penalties: Penalties, proximal: Collection[str], task: str) -> None:
        super().__init__()
        self.model = model
        self.penalties = penalties
        self.proximal = frozenset(proximal)
        self.task = task

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        loss = data_loss(self.model(x), y, self.task)
        paid = [value for name, value in self.penalties.named_losses() if name not in self.proximal]
        return loss, total(paid, lambda: loss.device)


class StackedModels:
    """The weights of many models of one kind, stacked along a first axis; all begin with the weights of `model`.

    `strengths` multiply the penalties that are attached to `model`, one a stacked model; `folds` says which fold each
    one trains on. When `proximal`, the penalties of weights that have a proximal step take it.
    """

    def __init__(
        self, model: nn.Module, strengths: torch.Tensor, folds: torch.Tensor, task: str, proximal: bool = False
    ) -> None:
        (penalties,) = attached(model)
        self.proximal = proximal_targets(model, penalties) if proximal else {}
        self.model = model
        self.penalties = penalties
        self.strengths = strengths
        self.folds = folds
        self.task = task
        own = {target.name for target in self.proximal.values()}
        self.objective = _Objective(model, penalties, own, task)
        count = len(strengths)
        self.weights = {
            name: weight.detach().expand(count, *weight.shape).clone() for name, weight in model.named_parameters()
        }
        self.buffers = {name: buffer.expand(count, *buffer.shape).clone() for name, buffer in model.named_buffers()}
        trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
        self.frozen = {name: weight for name, weight in self.weights.items() if name not in trained}
        self.trained = {name: weight for name, weight in self.weights.items() if name in trained}
        self._gradients = vmap(grad(self._loss), in_dims=(0, 0, 0, 0, 0, 0), randomness="same")

    def gradients(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        """The gradients of all models' objectives on their own batches: x (models, batch, ...), y (models, batch)."""
        found: dict[str, torch.Tensor] = self._gradients(self.trained, self.frozen, self.buffers, self.strengths, x, y)
        return found

    def map(self, function: Callable[..., Any], members: torch.Tensor, *arguments: Any) -> Any:
        """`function(model's weights and buffers, *arguments)` for some of the models at once; arguments are shared."""
        tensors = {name: tensor[members] for name, tensor in {**self.weights, **self.buffers}.items()}
        with torch.no_grad():
            return vmap(function, in_dims=(0, *(None for _ in arguments)), randomness="same")(tensors, *arguments)

    def _loss(
        self, trained: Any, frozen: Any, buffers: Any, strength: torch.Tensor, x: torch.Tensor, y: torch.Tensor
    ) -> torch.Tensor:
        tensors = {f"model.{name}": tensor for name, tensor in {**trained, **frozen, **buffers}.items()}
        data, penalty = functional_call(self.objective, tensors, (x, y))
        return data + strength * penalty  # type: ignore[no-any-return]

    @torch.no_grad()
    def shrink(self, optimizer: torch.optim.Optimizer) -> None:
        """The proximal steps of all models, after the optimizer's step, each with its own strength."""
        (group,) = optimizer.param_groups
        for name, target in self.proximal.items():
            stacked = self.trained[name]
            sizes = torch.as_tensor(step_sizes(optimizer, group, stacked).tensor()).expand_as(stacked)
            sizes = sizes * self.strengths.view(-1, *(1 for _ in stacked.shape[1:]))
            stacked.copy_(vmap(functools.partial(_shrunk, target))(stacked, sizes))


def proximal_targets(model: nn.Module, penalties: Penalties) -> dict[str, WeightTarget]:
    """The penalties of weights that have a proximal step, by the parameter's name in the model."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    targets = [target for target in penalties.values() if isinstance(target, WeightTarget) and not target.frozen]
    return {names[id(t.tensor())]: t for t in targets if has_diagonal_prox(t.regularizer)}


def _shrunk(target: WeightTarget, weight: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    layout = target.in_regularizer_layout
    return target.in_torch_layout(target.regularizer.prox(layout(weight), layout(sizes)))


def train_stack(
    stack: StackedModels,
    data: Folds,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    advance: Callable[[], None],
) -> None:
    """Train all models of a stack, each on the batches of its fold, with Adam.

    Adam's update is elementwise, so one optimizer over stacked weights is one for each model. `advance` is called after
    each epoch. Raises PenalizeError when the first step of the stack is not that of a model alone.
    """
    optimizer = torch.optim.Adam(stack.trained.values(), lr=learning_rate)
    stack.model.train()
    fold_index = torch.arange(len(data))[:, None]
    for epoch in range(epochs):
        rows = data.epoch_rows(epoch)
        for number, columns in enumerate(torch.split(rows, batch_size, dim=1)):
            x = data.x[fold_index, columns][stack.folds]
            y = data.y[fold_index, columns][stack.folds]
            if epoch == number == 0:
                _check_first_step(stack, x, y)
            for name, gradient in stack.gradients(x, y).items():
                stack.trained[name].grad = gradient
            optimizer.step()
            stack.shrink(optimizer)
        advance()


def _check_first_step(stack: StackedModels, x: torch.Tensor, y: torch.Tensor) -> None:
    """Compare the gradients of the strongest penalty's model with autograd on that model alone."""
    member = int(stack.strengths.argmax())
    alone = copy.deepcopy(stack.model)
    (penalties,) = attached(alone)
    with torch.no_grad():
        for name, tensor in [*alone.named_parameters(), *alone.named_buffers()]:
            tensor.copy_({**stack.weights, **stack.buffers}[name][member])
    buffers = {name: buffer.clone() for name, buffer in stack.buffers.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        loss, paid = _Objective(alone, penalties, stack.objective.proximal, stack.task)(x[member], y[member])
        objective = loss + stack.strengths[member] * paid
        weights = {name: weight for name, weight in alone.named_parameters() if name in stack.trained}
        expected = torch.autograd.grad(objective, list(weights.values()), allow_unused=True)
        torch.manual_seed(0)
        try:
            got = stack.gradients(x, y)
        except RuntimeError as error:
            raise PenalizeError(f"this model cannot be trained in a stack: {error}") from error
    for name, buffer in buffers.items():
        stack.buffers[name].copy_(buffer)
    tolerance = 1e-6 if x.dtype == torch.float64 else 1e-2
    for name, own in zip(weights, expected, strict=True):
        reference = torch.zeros_like(weights[name]) if own is None else own
        distance, size = float((got[name][member] - reference).norm()), float(reference.norm())
        if not distance <= tolerance * size + 1e-7:
            raise PenalizeError(
                f"this model cannot be trained in a stack: the first gradient of {name} differs from that of the model "
                f"alone by {distance:.3g}, of a length of {size:.3g}"
            )


def members_of(stack: StackedModels, fold: int) -> torch.Tensor:
    """The places in the stack of the models that train on a fold."""
    return torch.nonzero(stack.folds == fold).flatten()
