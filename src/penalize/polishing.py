"""`polish`: a final phase of proximal steps over all data, after which supports no longer flicker with the batches."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from penalize.binding import attached
from penalize.errors import ArgumentError, PenaltyError
from penalize.evaluation import activity_losses, weight_losses
from penalize.placement import ActivityTarget, WeightTarget
from penalize.progress import progress_bar
from penalize.regularizers.base import has_prox

__all__ = ["Polished", "polish"]

Batches = Iterable[tuple[Any, Any]]
Tensors = list[torch.Tensor]


@dataclass(frozen=True)
class Polished:
    """What `polish` did.

    `objective_before` and `objective` are the loss of all data with all penalties; `zeros_before` and `zeros` count the
    exact zeros of the weights that take proximal steps. `gap` bounds, where the objective is convex, by how much it is
    larger than anywhere within a distance of the weights' own length. `converged` says that the gap fell below
    `tolerance` times the objective, or that rounding allows no further descent.
    """

    steps: int
    objective_before: float
    objective: float
    gap: float
    zeros_before: int
    zeros: int
    converged: bool


def polish(
    model: nn.Module,
    data: Batches | tuple[torch.Tensor, torch.Tensor],
    criterion: Callable[[Any, Any], torch.Tensor],
    *,
    steps: int = 200,
    tolerance: float = 1e-8,
    progress: bool = True,
) -> Polished:
    """Minimize `mean of criterion(model(x), y) + penalties` over all of `data` by accelerated proximal steps.

    To be called after training with `bind(proximal=True)`: with minibatches a weight near its threshold becomes zero in
    one step and nonzero in the next. The objective never rises. Weights are those that take gradients; penalties are
    those that are attached to the model, of which those with a proximal step (`prox`) take it, and the rest counts in
    the gradient. The model computes in evaluation mode (no dropout, BatchNorm with its running statistics), and is in
    the modes that it had afterwards; gradients and the optimizer are left alone.

    Parameters
    ----------
    model
        With penalties attached, of which at least one has a proximal step.
    data
        All of it: two tensors (x, y), or batches of such pairs that can be gone through many times, as a DataLoader.
    criterion
        The mean loss of a batch, such as `torch.nn.functional.cross_entropy`.
    steps
        At most so many; each goes through the data about twice.
    tolerance
        Stop when the gap is below this share of the objective.
    progress
        Whether to show a bar, where stderr is a terminal.

    Raises `ArgumentError` for bad arguments and where nothing has a proximal step, `PenaltyError` when the objective is
    not finite; the weights are then as they were.

    Source: Beck and Teboulle, A Fast Iterative Shrinkage-Thresholding Algorithm, 2009; restarts: O'Donoghue and Candès,
    Adaptive Restart for Accelerated Gradient Schemes, 2015.

    >>> import torch, penalize
    >>> x = torch.eye(3, dtype=torch.float64)
    >>> y = torch.tensor([[3.0], [0.1], [-2.0]], dtype=torch.float64)
    >>> model = torch.nn.Linear(3, 1, bias=False, dtype=torch.float64)
    >>> penalties = penalize.attach(model, weights={"weight": penalize.regularizers.L1(0.2)})
    >>> result = penalize.polish(model, (x, y), torch.nn.functional.mse_loss)
    >>> result.zeros, result.converged
    (1, True)
    >>> [round(value, 4) for value in model.weight[0].tolist()]
    [2.7, 0.0, -1.7]
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ArgumentError(f"steps must be an integer >= 1, got {steps!r:.80}")
    if not 0 <= tolerance < math.inf:
        raise ArgumentError(f"tolerance must be a finite number >= 0, got {tolerance!r:.80}")
    objective = _Objective(model, data, criterion)
    before = [weight.detach().clone() for weight in objective.weights]
    zeros = objective.zeros()
    with _in_evaluation_mode(model):
        try:
            first = objective.value()
            taken, gap, converged = _descend(objective, first, steps, tolerance, progress)
            last = objective.value()
        except BaseException:
            objective.set(before)
            raise
    return Polished(taken, first, last, gap, zeros, objective.zeros(), converged)


class _Objective:
    """The smooth part, its gradient, and the proximal step of the rest, at the model's present weights."""

    def __init__(self, model: nn.Module, data: Any, criterion: Callable[[Any, Any], torch.Tensor]) -> None:
        self.model = model
        self.criterion = criterion
        alone = isinstance(data, tuple) and len(data) == 2 and all(isinstance(part, torch.Tensor) for part in data)
        self.batches: Batches = [data] if alone else data
        if isinstance(self.batches, Iterator):
            raise ArgumentError("data must be gone through many times: give a DataLoader or a list, not an iterator")
        targets = [target for penalties in attached(model) for target in penalties.values()]
        weights = [target for target in targets if isinstance(target, WeightTarget) and not target.frozen]
        self.proximal = {id(t.tensor()): t for t in weights if has_prox(t.regularizer)}
        self.smooth = [t for t in weights if t.regularizer is not None and id(t.tensor()) not in self.proximal]
        self.activities = [target for target in targets if isinstance(target, ActivityTarget)]
        if not self.proximal:
            raise ArgumentError("polish takes proximal steps, and no penalty that is attached to the model has one")
        self.weights: Tensors = [parameter for parameter in model.parameters() if parameter.requires_grad]

    @torch.no_grad()
    def set(self, values: Tensors) -> None:
        for weight, value in zip(self.weights, values, strict=True):
            weight.copy_(value)

    @torch.no_grad()
    def zeros(self) -> int:
        return sum(int((target.tensor() == 0).sum()) for target in self.proximal.values())

    @torch.no_grad()
    def smooth_value(self) -> float:
        return sum(share * float(self._smooth(x, y)) for share, x, y in self._shares())

    def smooth_gradient(self) -> tuple[float, Tensors]:
        value, gradient = 0.0, [torch.zeros_like(weight) for weight in self.weights]
        for share, x, y in self._shares():
            loss = share * self._smooth(x, y)
            found = torch.autograd.grad(loss, self.weights, allow_unused=True)
            value += float(loss.detach())
            for total, part in zip(gradient, found, strict=True):
                if part is not None:
                    total += part
        return value, gradient

    @torch.no_grad()
    def rest(self) -> float:
        """The penalties that take proximal steps."""
        return sum(float(value) for _, value in weight_losses(self.proximal.values()))

    def value(self) -> float:
        found = self.smooth_value() + self.rest()
        if not math.isfinite(found):
            raise PenaltyError(f"polish: the loss with the penalties must be finite, got {found}")
        return found

    @torch.no_grad()
    def prox(self, values: Tensors, step: float) -> Tensors:
        """The proximal steps from these values of the weights."""
        return [self._prox(weight, value, step) for weight, value in zip(self.weights, values, strict=True)]

    def _prox(self, weight: torch.Tensor, value: torch.Tensor, step: float) -> torch.Tensor:
        target = self.proximal.get(id(weight))
        if target is None:
            return value
        shrunk = target.regularizer.prox(target.in_regularizer_layout(value), step)
        return target.in_torch_layout(shrunk).clone()

    def _shares(self) -> Iterator[tuple[float, Any, Any]]:
        """Each batch with its share of all rows."""
        rows = sum(len(y) for _, y in self.batches)
        if not rows:
            raise ArgumentError("polish: data holds no rows")
        for x, y in self.batches:
            yield len(y) / rows, x, y

    def _smooth(self, x: Any, y: Any) -> torch.Tensor:
        loss = self.criterion(self.model(x), y)
        for _, value in [*activity_losses(self.activities), *weight_losses(self.smooth)]:
            loss = loss + value
        return loss


def _descend(
    objective: _Objective, first: float, steps: int, tolerance: float, progress: bool
) -> tuple[int, float, bool]:
    """The accelerated steps; how many were taken, the gap, and whether that is small enough."""
    rounding = 8 * torch.finfo(objective.weights[0].dtype).eps
    now = [weight.detach().clone() for weight in objective.weights]
    ahead, momentum, step, value, gap = now, 1.0, 1.0, first, math.inf
    growth = 1
    with progress_bar(steps, "polish", progress) as advance:
        for number in range(1, steps + 1):
            objective.set(ahead)
            smooth, gradient = objective.smooth_gradient()
            step, after, distance = _backtrack(objective, ahead, smooth, gradient, growth * step, rounding)
            # Where rounding hides what a step changes, a larger one could not be told to be too large.
            growth = 2 if distance**2 / (2 * step) > 1e3 * rounding * abs(smooth) else 1
            new = objective.smooth_value() + objective.rest()
            length = math.sqrt(sum(float(weight.double().square().sum()) for weight in after))
            if new > value + rounding * abs(value):
                if momentum == 1.0:
                    objective.set(now)
                    return number, gap, True
                # Momentum went too far: begin anew from the best weights so far.
                ahead, momentum = now, 1.0
                advance()
                continue
            gap = 2 * distance / step * length
            following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
            factor = (momentum - 1) / following
            ahead = [a + factor * (a - b) for a, b in zip(after, now, strict=True)]
            now, momentum, value = after, following, min(value, new)
            advance()
            if gap <= tolerance * abs(value):
                objective.set(now)
                return number, gap, True
    objective.set(now)
    return steps, gap, False


def _backtrack(
    objective: _Objective, start: Tensors, smooth: float, gradient: Tensors, step: float, rounding: float
) -> tuple[float, Tensors, float]:
    """The largest step of halvings for which the quadratic bound holds; the weights after it, and how far they went."""
    while True:
        after = objective.prox([w - step * g for w, g in zip(start, gradient, strict=True)], step)
        objective.set(after)
        moves = [(a - b).double() for a, b in zip(after, start, strict=True)]
        squares = sum(float(move.square().sum()) for move in moves)
        slope = sum(float((move * g).sum()) for move, g in zip(moves, gradient, strict=True))
        bound = smooth + slope + squares / (2 * step)
        if objective.smooth_value() <= bound + rounding * abs(smooth) or step < 1e-30:
            return step, after, math.sqrt(squares)
        step /= 2


@contextlib.contextmanager
def _in_evaluation_mode(model: nn.Module) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
