"""What a trained stack reaches: losses without penalty, scores and shares of zeros, one of each a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.func import functional_call

from penalize.path.folds import Folds
from penalize.path.stacked import StackedModels, data_loss, members_of
from penalize.placement import ActivityTarget, WeightTarget
from penalize.placement.calls import output_tensors

__all__ = ["Scores", "score_stack"]


@dataclass(frozen=True)
class Scores:
    """Tensors (models,): mean data losses on training and validation rows, validation score, share of exact zeros."""

    train_loss: torch.Tensor
    val_loss: torch.Tensor
    score: torch.Tensor
    zeros: torch.Tensor


def score_stack(stack: StackedModels, data: Folds) -> Scores:
    """Evaluate all models of a stack, each on the rows of its fold. The score is accuracy, or R2 for regression."""
    count = len(stack.strengths)
    results = Scores(*(torch.full((count,), torch.nan, dtype=torch.float64) for _ in range(4)))
    stack.model.eval()
    activities = [target for target in _targets(stack, ActivityTarget) if target.regularizer is not None]
    weights = _targets(stack, WeightTarget)
    for fold in range(len(data)):
        if not bool((stack.folds == fold).any()):
            continue
        members = members_of(stack, fold)
        train, validation = data.train[fold], data.validation[fold]
        x, y = data.x[fold], data.y[fold]
        train_loss, _, _ = stack.map(_evaluation(stack, []), members, x[train], y[train])
        val_loss, score, zeros = stack.map(_evaluation(stack, activities), members, x[validation], y[validation])
        results.train_loss[members] = train_loss.double()
        results.val_loss[members] = val_loss.double()
        results.score[members] = score.double()
        results.zeros[members] = zeros.double()
    if weights:
        results.zeros.copy_(_weight_zeros(stack, weights))
    return results


def _targets(stack: StackedModels, kind: Any) -> list[Any]:
    return [stack.penalties[name] for name in stack.penalties if isinstance(stack.penalties[name], kind)]


def _evaluation(stack: StackedModels, activities: list[ActivityTarget]) -> Any:
    """A function of one model's tensors and data that gives its loss, its score and its share of zero outputs."""

    def evaluate(tensors: Any, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        counts: list[tuple[torch.Tensor, int]] = []

        def count_zeros(module: Any, args: Any, output: Any) -> None:
            counts.extend(((tensor == 0).sum(), tensor.numel()) for tensor in output_tensors(output))

        handles = [target.module.register_forward_hook(count_zeros) for target in activities]
        try:
            output = functional_call(stack.model, tensors, (x,))
        finally:
            for handle in handles:
                handle.remove()
        zeros = sum((zero for zero, _ in counts), x.new_zeros(())) / max(sum(size for _, size in counts), 1)
        return data_loss(output, y, stack.task), _score(output, y, stack.task), zeros

    return evaluate


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
