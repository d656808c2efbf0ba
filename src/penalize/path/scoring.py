"""What a trained stack reaches: losses without penalty, scores and shares of zeros, one of each a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.func import functional_call, vmap

from penalize.path.folds import Folds
from penalize.path.stacked import StackedModels, data_loss, members_of
from penalize.placement import ActivityTarget, WeightTarget, output_tensors

__all__ = ["Scores", "score_stack"]


@dataclass(frozen=True)
class Scores:
    """Tensors (models,): mean data losses on training and validation rows, validation score, share of exact zeros."""

    train_loss: torch.Tensor
    val_loss: torch.Tensor
    score: torch.Tensor
    zeros: torch.Tensor


ROWS_AT_ONCE = 1024


def score_stack(stack: StackedModels, data: Folds) -> Scores:
    """Evaluate all models of a stack, each on the rows of its fold. The score is accuracy, or R2 for regression."""
    count = len(stack.strengths)
    results = Scores(*(torch.full((count,), torch.nan, dtype=torch.float64) for _ in range(4)))
    stack.model.eval()
    targets = [stack.penalties[name] for name in stack.penalties]
    activities = [target for target in targets if isinstance(target, ActivityTarget)]
    weights = [target for target in targets if isinstance(target, WeightTarget) and not target.frozen]
    for fold in range(len(data)):
        members = members_of(stack, fold)
        if not len(members):
            continue
        loss = vmap(lambda output, y: data_loss(output, y, stack.task), in_dims=(0, None))
        score = vmap(lambda output, y: _score(output, y, stack.task), in_dims=(0, None))
        output, y, _ = _outputs(stack, members, data, fold, data.train[fold], [])
        results.train_loss[members] = loss(output, y).double()
        output, y, zeros = _outputs(stack, members, data, fold, data.validation[fold], activities)
        results.val_loss[members] = loss(output, y).double()
        results.score[members] = score(output, y).double()
        results.zeros[members] = zeros
    if weights:
        results.zeros.copy_(_weight_zeros(stack, weights))
    return results


def _outputs(
    stack: StackedModels,
    members: torch.Tensor,
    data: Folds,
    fold: int,
    rows: torch.Tensor,
    activities: list[ActivityTarget],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The outputs (members, rows, ...) for rows of a fold, their targets, and each member's share of zero outputs."""

    def evaluate(tensors: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        zeros, sizes = x.new_zeros(()), x.new_zeros(())

        def count(module: Any, args: Any, output: Any) -> None:
            nonlocal zeros, sizes
            for tensor in output_tensors(output):
                zeros, sizes = zeros + (tensor == 0).sum(), sizes + tensor.numel()

        handles = [target.module.register_forward_hook(count) for target in activities]
        try:
            return functional_call(stack.model, tensors, (x,)), zeros, sizes
        finally:
            for handle in handles:
                handle.remove()

    parts = [stack.map(evaluate, members, data.x[fold, some]) for some in torch.split(rows, ROWS_AT_ONCE)]
    outputs, zeros, sizes = zip(*parts, strict=True)
    share = torch.stack(zeros).double().sum(0) / torch.stack(sizes).double().sum(0).clamp(min=1)
    return torch.cat(outputs, dim=1), data.y[fold, rows], share


def _score(output: torch.Tensor, y: torch.Tensor, task: str) -> torch.Tensor:
    if task == "classification":
        return (output.argmax(-1) == y).double().mean()
    residual = (output.reshape(y.shape) - y).double()
    centred = (y - y.mean()).double()
    return 1 - residual.square().sum() / centred.square().sum()


def _weight_zeros(stack: StackedModels, targets: list[WeightTarget]) -> torch.Tensor:
    """The share of exact zeros among each model's penalized weights."""
    names = {id(parameter): name for name, parameter in stack.model.named_parameters()}
    penalized = [stack.weights[names[id(target.tensor())]].flatten(1) for target in targets]
    return (torch.cat(penalized, dim=1) == 0).double().mean(1)
