"""What trained stacked models reach: losses without penalty, scores and shares of zeros, one of each a model."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from penalize.path.training.job import Job
from penalize.path.training.stacked import StackedModels
from penalize.placement import WeightTarget

__all__ = ["Scores", "rows_at_once", "score_stack", "validation_losses"]


@dataclass(frozen=True)
class Scores:
    """Tensors (models,): mean data losses on training and validation rows, validation score, share of exact zeros."""

    train_loss: torch.Tensor
    val_loss: torch.Tensor
    score: torch.Tensor
    zeros: torch.Tensor


ROWS_AT_ONCE = 512


def rows_at_once(job: Job) -> int:
    """How many rows a stack is called on at once where no gradients are asked for."""
    return max(ROWS_AT_ONCE, job.training.batch_size)


def score_stack(stack: StackedModels) -> Scores:
    """Evaluate all models of a stack, each on the rows of its fold."""
    results = Scores(*(torch.full((len(stack),), torch.nan, dtype=torch.float64) for _ in range(4)))
    data, training = stack.job.data, stack.job.training
    for fold in sorted(set(stack.folds.tolist())):
        members = torch.nonzero(stack.folds == fold).flatten()
        of_fold = stack.subset(members)
        results.train_loss[members] = _losses(of_fold, *_outputs(of_fold, data.train[fold])[:2])
        output, y, counts = _outputs(of_fold, data.validation[fold])
        results.val_loss[members] = _losses(of_fold, output, y)
        scores = [training.score(each, own) for each, own in zip(output, y, strict=True)]
        results.score[members] = torch.tensor(scores, dtype=torch.float64)
        results.zeros[members] = counts[:, 0] / counts[:, 1].clamp(min=1)
    targets = [target for target in stack.penalties.values() if isinstance(target, WeightTarget) and not target.frozen]
    names = {id(parameter): name for name, parameter in stack.model.named_parameters()}
    penalized = [stack.weights[names[id(t.tensor())]].flatten(1) for t in targets if id(t.tensor()) in names]
    if penalized:
        results.zeros.copy_((torch.cat(penalized, dim=1) == 0).double().mean(1))
    return results


def validation_losses(stack: StackedModels) -> torch.Tensor:
    """The mean losses of the data (models,) on the validation rows of each model's fold."""
    losses = torch.full((len(stack),), torch.nan, dtype=torch.float64)
    for fold in sorted(set(stack.folds.tolist())):
        members = torch.nonzero(stack.folds == fold).flatten()
        of_fold = stack if len(members) == len(stack) else stack.subset(members)
        losses[members] = _losses(of_fold, *_outputs(of_fold, stack.job.data.validation[fold])[:2])
    return losses


def _losses(stack: StackedModels, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return stack.calls.losses(stack.job.training.loss, outputs, y).double()


@torch.no_grad()
def _outputs(stack: StackedModels, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For rows of the fold of all models: outputs (models, rows, ...), targets (models, rows), and counts (models, 2)
    of zeros and of elements in the outputs that are penalized.
    """
    stack.model.eval()
    fold, data = int(stack.folds[0]), stack.job.data
    parts = [stack.calls.outputs(stack, data.x[fold, some]) for some in torch.split(rows, rows_at_once(stack.job))]
    outputs, counts = zip(*parts, strict=True)
    y = data.y[fold, rows]
    return torch.cat(outputs, dim=1), y.expand(len(stack), *y.shape), torch.stack(counts).double().sum(0)
