"""The LightningModule that Lightning's Trainer runs: one step of a model, its penalties and its logs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from penalize.binding import attached
from penalize.errors import ArgumentError, DataError
from penalize.evaluation import WeightPenalties, activity_losses, total
from penalize.layers import Layer
from penalize.layers.tracking import declared_targets
from penalize.logits import detached, drop_logits
from penalize.losses import Loss
from penalize.masks import mask_of, set_masks
from penalize.metrics import Metric
from penalize.models.data import in_tensors, unpack
from penalize.models.history import History, Logs
from penalize.placement import output_tensors

__all__ = ["Mean", "TrainingModule"]


class Mean:
    """A running mean of scalars, weighted by the sizes of batches, kept on the device and in float64 where it can."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.total: torch.Tensor | None = None
        self.weight = 0

    def update(self, value: torch.Tensor, weight: int) -> None:
        """Add the mean `value` of a batch of `weight` samples."""
        if self.total is None or self.total.device != value.device:
            before = self.compute() * self.weight
            dtype = torch.float32 if value.device.type == "mps" else torch.float64
            self.total = torch.tensor(before, dtype=dtype, device=value.device)
        self.total.add_(value.detach(), alpha=weight)
        self.weight += weight

    def compute(self) -> float:
        """The mean; 0 when nothing was added."""
        return float(self.total) / self.weight if self.total is not None and self.weight else 0.0


class TrainingModule(pl.LightningModule):
    """Trains, evaluates and predicts with a compiled model."""

    def __init__(
        self,
        model: Layer,
        loss: Loss | None,
        metrics: Callable[[], list[Metric]],
        optimizer: torch.optim.Optimizer | None,
        history: History | None = None,
        report: Callable[[int, Logs], None] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.declared = _Declared(model)
        self.constrained = False
        self.loss = loss
        self.own_optimizer = optimizer
        # Nothing to optimize: Lightning then only runs the steps.
        self.automatic_optimization = optimizer is not None
        self.history = history
        self.report = report
        self.stages = {stage: _Stage(metrics()) for stage in ("train", "val")}
        self.val_logs: Logs = {}

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes dozens of times a step which hook is running. A string needs no place among a module's parts.
        if (value is None or type(value) is str) and name in self.__dict__:
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def configure_optimizers(self) -> Any:
        return self.own_optimizer

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        # Once, and before it goes to the device, which NumPy arrays would not.
        return in_tensors(batch)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        # What is there already need not be looked for in every part of a batch.
        if device.type == "cpu" and all(tensor.is_cpu for tensor in output_tensors(batch)):
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self._step(batch, self.stages["train"])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._step(batch, self.stages["val"])

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        output = self.model(unpack(batch)[0])
        for tensor in output_tensors(output):
            drop_logits(tensor)
        return output

    def on_fit_start(self) -> None:
        self._place_metrics()

    def on_validation_start(self) -> None:
        self._place_metrics()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.constrained:
            self.model.apply_constraints()

    def on_train_epoch_start(self) -> None:
        self.declared.look()
        self.constrained = bool(self.model.constrained_weights())
        self.stages["train"].reset()

    def on_validation_epoch_start(self) -> None:
        self.declared.look()
        self.stages["val"].reset()

    def on_validation_epoch_end(self) -> None:
        logs = self.stages["val"].logs()
        self.val_logs = {f"val_{name}": value for name, value in logs.items()}
        self.log_dict(_numbers(self.val_logs), prog_bar=True)

    def on_train_epoch_end(self) -> None:
        logs = self.stages["train"].logs()
        self.log_dict(_numbers(logs), prog_bar=True)
        logs = {**logs, **self.val_logs}
        self.val_logs = {}
        if self.history is not None:
            self.history.append(logs)
        if self.report is not None:
            self.report(self.current_epoch, logs)

    def _place_metrics(self) -> None:
        for stage in self.stages.values():
            for metric in stage.metrics:
                metric.to(self.device)

    def _step(self, batch: Any, stage: _Stage) -> torch.Tensor:
        x, y, weight = unpack(batch)
        output = self.model(x)
        data_loss = self._data_loss(y, output, weight)
        to_minimize, paid = self._penalties()
        if data_loss is None and to_minimize is None:
            raise DataError(f"{self.model.name}: there is nothing to minimize: compile with a loss, or add penalties")
        total = _sum(data_loss, paid)
        stage.update(total, paid, y, output, _batch_size(x))
        objective = total if paid is to_minimize else _sum(data_loss, to_minimize)
        # With all penalties bound and no loss, nothing here has a gradient: the optimizer's step does the rest.
        return objective if objective.requires_grad else objective.detach().requires_grad_()

    def _penalties(self) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """The penalties to minimize here, and all that are paid: the same, unless some act in the optimizer's step.

        Attached penalties contain what the layers declare, and stand in its place.
        """
        found = attached(self.model)
        if not found:
            whole = self.declared.total()
            return whole, whole
        if len(found) > 1:
            raise ArgumentError(
                f"{self.model.name}: fit takes the penalties of one attach(), got those of {len(found)}"
            )
        remaining = found[0].loss()
        if not found[0].bound:
            return remaining, remaining
        with torch.no_grad():  # for the logs alone
            return remaining, sum(found[0].losses, torch.zeros_like(remaining))

    def _data_loss(self, y: Any, output: Any, weight: Any) -> torch.Tensor | None:
        if self.loss is None:
            return None
        if y is None:
            raise DataError(f"{self.model.name}: the loss needs targets, but the data have no y")
        if not isinstance(output, torch.Tensor):
            kind = type(output).__name__
            raise DataError(f"{self.model.name}: fit and evaluate take a model with one tensor as output, got {kind}")
        value = self.loss(y, output, sample_weight=weight)
        # A loss without reduction gives a value a sample: their mean is what is minimized.
        return value.mean() if value.ndim else value


class _Declared:
    """The sum of `model.losses`, by the fast evaluator.

    Regularizers and strengths may change at any step, and weights be frozen. The layers, and which of them are
    trainable, are looked at anew in each epoch.
    """

    def __init__(self, model: Layer) -> None:
        self.model = model
        self.look()

    def look(self) -> None:
        """Find what the layers declare now."""
        targets, self.activities = declared_targets(self.model)
        self.weights = WeightPenalties(targets)

    def total(self) -> torch.Tensor | None:
        """A differentiable scalar; None where nothing is penalized."""
        if type(self.model).losses is not Layer.losses:
            # Somebody's own list.
            return total(self.model.losses, self._device) if self.model.losses else None
        values = [value for _, value in activity_losses(self.activities)] + self.weights.values()
        return total(values, self._device) if values or self.weights.pays() else None

    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


class _Stage:
    """The logs of one pass over the data."""

    def __init__(self, metrics: list[Metric]) -> None:
        self.metrics = metrics
        self.loss = Mean()
        self.penalty = Mean()

    def reset(self) -> None:
        self.loss.reset()
        self.penalty.reset()
        for metric in self.metrics:
            metric.reset()

    def update(self, total: torch.Tensor, penalty: torch.Tensor | None, y: Any, output: Any, size: int) -> None:
        self.loss.update(total, size)
        if penalty is not None:
            self.penalty.update(penalty, size)
        if not self.metrics:
            return
        predicted = detached(output)
        set_masks(predicted, mask_of(output))
        with torch.no_grad():
            for metric in self.metrics:
                metric.update(y, predicted)

    def logs(self) -> Logs:
        logs: Logs = {"loss": self.loss.compute()}
        if self.penalty.weight:
            logs["penalty"] = self.penalty.compute()
        return {**logs, **{metric.name: _as_log(metric.compute()) for metric in self.metrics}}


def _as_log(value: torch.Tensor) -> float | np.ndarray:
    """A number; of a metric with several values, such as one a class, an array."""
    return value.cpu().numpy() if value.numel() > 1 else float(value)


def _numbers(logs: Logs) -> dict[str, float]:
    """What callbacks can watch, and Lightning can log."""
    return {name: value for name, value in logs.items() if isinstance(value, float)}


def _sum(data_loss: torch.Tensor | None, penalty: torch.Tensor | None) -> torch.Tensor:
    parts = [part for part in (data_loss, penalty) if part is not None]
    return sum(parts[1:], parts[0])


def _batch_size(x: Any) -> int:
    if isinstance(x, torch.Tensor):
        return x.shape[0]
    if not isinstance(x, dict | list | tuple) or not x:
        raise DataError(
            f"a batch's inputs must be tensors or NumPy arrays, or lists, tuples or dicts of them, got {x!r:.80}"
        )
    return _batch_size(next(iter(x.values() if isinstance(x, dict) else x)))
