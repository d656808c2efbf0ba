"""Training stacked models, each on the batches of its fold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from penalize.binding.step_sizes import step_sizes
from penalize.path.training.job import Job
from penalize.path.training.optimization import narrow
from penalize.path.training.scoring import validation_losses
from penalize.path.training.stacked import StackedModels
from penalize.path.training.stopping import Stopping

__all__ = ["step", "train_stack"]


def train_stack(stack: StackedModels, job: Job, advance: Callable[[], None]) -> np.ndarray:
    """Train all models of a stack; returns how many epochs each one took (models,).

    The optimizer's update is elementwise, so one optimizer over stacked weights is one for each model. With early
    stopping, a model ends as it was after its best epoch, and leaves the others as soon as it is finished. `advance` is
    called once for each epoch of the job, also for those that no model needed.
    """
    training = job.training
    stopping = None if training.early_stopping is None else Stopping(stack, training.early_stopping)
    active = stack if stopping is None else stack.subset(torch.arange(len(stack)))
    epochs = np.full(len(stack), training.epochs)
    optimizer = training.optimizer.build(active.trained.values())
    for epoch in range(training.epochs):
        if len(active):
            active.model.train()
            _train_epoch(active, job, optimizer, epoch)
        if stopping is not None and len(active):
            with torch.random.fork_rng(devices=[]):
                losses = validation_losses(active)
            going_on, finished = stopping.after_epoch(active, losses)
            epochs[finished] = epoch + 1
            if len(going_on) < len(active):
                before, active = active, active.subset(going_on)
                narrow(optimizer, before.trained.values(), active.trained.values(), going_on)
        advance()
    return epochs


def _train_epoch(stack: StackedModels, job: Job, optimizer: torch.optim.Optimizer, epoch: int) -> None:
    data = job.data
    # Rows of each fold are drawn once for all its models; where all are of one fold, they share memory.
    used, place = torch.unique(stack.folds, return_inverse=True)
    rows = data.epoch_rows(epoch)[used]
    for columns in torch.split(rows, job.training.batch_size, dim=1):
        x, y = data.x[used[:, None], columns], data.y[used[:, None], columns]
        one = len(used) == 1
        x = x.expand(len(stack), *x.shape[1:]) if one else x[place]
        y = y.expand(len(stack), *y.shape[1:]) if one else y[place]
        step(stack, optimizer, x, y)


def step(stack: StackedModels, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> None:
    """One step of all models, on their own batches x (models, batch, ...) and y (models, batch)."""
    for name, gradient in stack.gradients(x, y).items():
        stack.trained[name].grad = gradient
    optimizer.step()
    if stack.paid.shrunk or stack.paid.proximal:
        (group,) = optimizer.param_groups
        shrunk = [*stack.paid.shrunk, *stack.paid.proximal]
        stack.shrink({name: step_sizes(optimizer, group, stack.trained[name]) for name in shrunk})
    for weight in stack.trained.values():
        weight.grad = None
