"""Many models of one kind, one for each pair of a strength and a fold, with their weights stacked."""

from __future__ import annotations

import copy
from typing import Self

import torch

from penalize.binding import attached
from penalize.evaluation import StepSizes
from penalize.path.training.calls import Calls, chosen_calls
from penalize.path.training.job import Chunk, Job
from penalize.path.training.penalized import Elementwise, Paid, paid_by
from penalize.path.training.shrinking import shrink_elementwise, shrink_generally

__all__ = ["StackedModels", "Tensors"]

Tensors = dict[str, torch.Tensor]


class StackedModels:
    """The models of some pairs of a job; all begin with the weights of its base, or with `start`, which is copied.

    `weights` and `buffers` are by the names that the model has for them, each of shape (models, *shape); `trained` are
    the weights that have gradients. `strengths` and `folds` (models,) say what each model is of.
    """

    strengths: torch.Tensor
    folds: torch.Tensor
    weights: Tensors
    buffers: Tensors

    def __init__(self, job: Job, chunk: Chunk, start: Tensors | None = None) -> None:
        # A copy: what training changes besides weights must not reach the job, which others begin with.
        self.model = copy.deepcopy(job.base)
        (self.penalties,) = attached(self.model)
        self.job = job
        self.paid: Paid = paid_by(self.model, self.penalties, job.proximal)
        self.calls: Calls = chosen_calls(self.model, self.paid, job)
        places, folds = zip(*chunk, strict=True)
        self.strengths = torch.tensor([job.strengths[place] for place in places], dtype=job.dtype)
        self.folds = torch.tensor(folds)
        count = len(chunk)
        first = {
            name: tensor.detach() for name, tensor in [*self.model.named_parameters(), *self.model.named_buffers()]
        }
        stacked = {name: tensor.expand(count, *tensor.shape) for name, tensor in first.items()}
        self._hold({name: tensor.clone() for name, tensor in (start or stacked).items()})

    def subset(self, places: torch.Tensor) -> Self:
        """Some of the models, with copies of their tensors."""
        part = copy.copy(self)
        part.strengths, part.folds = self.strengths[places], self.folds[places]
        part._hold({name: tensor[places] for name, tensor in self.tensors.items()})
        return part

    def _hold(self, tensors: Tensors) -> None:
        of_model = dict(self.model.named_parameters())
        # Parameters without gradients: optimizers look at the type, and gradients are computed by other means.
        self.weights = {name: torch.nn.Parameter(tensors[name], requires_grad=False) for name in of_model}
        self.buffers = {name: tensor for name, tensor in tensors.items() if name not in of_model}
        self.trained = {name: self.weights[name] for name, weight in of_model.items() if weight.requires_grad}
        self._factors = {
            name: Elementwise(*(factor * self._along(self.weights[name]) if factor else None for factor in pair))
            for name, pair in {**self.paid.closed, **self.paid.shrunk}.items()
        }

    @property
    def tensors(self) -> Tensors:
        """All weights and buffers."""
        return {**self.weights, **self.buffers}

    def __len__(self) -> int:
        return len(self.strengths)

    def gradients(self, x: torch.Tensor, y: torch.Tensor) -> Tensors:
        """The gradients of all models' objectives on their own batches: x (models, batch, ...), y (models, batch)."""
        found = self.calls.gradients(self, x, y)
        for name in self.paid.closed:
            weight, gradient, factors = self.weights[name], found[name], self._factors[name]
            if factors.of_absolutes is not None:
                gradient.addcmul_(weight.sign(), factors.of_absolutes)
            if factors.of_squares is not None:
                gradient.addcmul_(weight, factors.of_squares, value=2)
        return found

    @torch.no_grad()
    def shrink(self, sizes: dict[str, StepSizes]) -> None:
        """The proximal steps of all models, with the step sizes of the optimizer's step, each with its own strength."""
        for name in self.paid.shrunk:
            shrink_elementwise(self.weights[name], sizes[name], self._factors[name])
        for name, target in self.paid.proximal.items():
            shrink_generally(self.weights[name], sizes[name], self._along(self.weights[name]), target)

    def put(self, places: torch.Tensor, models: StackedModels, members: torch.Tensor) -> None:
        """Take over all tensors of some `members` of other models, to these places."""
        for name, tensor in models.tensors.items():
            self.tensors[name][places] = tensor[members]

    def _along(self, weight: torch.Tensor) -> torch.Tensor:
        return self.strengths.to(weight.dtype).view(-1, *(1 for _ in weight.shape[1:]))
