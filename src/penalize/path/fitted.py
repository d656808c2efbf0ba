"""The models of a path that were trained on all rows."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from penalize.errors import ArgumentError, DataError, TargetError, nearest
from penalize.path.data.standardized import Scaling, StandardizedModel

__all__ = ["Refit"]


@dataclass(frozen=True, eq=False)
class Refit:
    """The models of all strengths, trained on all rows.

    `weights`: every parameter and buffer of the model (strengths, *shape); `penalized`: which of them are penalized;
    `input_weight`: the penalized one, of a linear layer, that the inputs themselves are multiplied with, if there is
    one; `train_loss` and `zeros` (strengths,) as in the path; `model`: the module without penalties, whose weights are
    put in; None after loading without one.
    """

    strengths: np.ndarray
    weights: dict[str, torch.Tensor]
    train_loss: np.ndarray
    zeros: np.ndarray
    scaling: Scaling
    penalized: tuple[str, ...]
    input_weight: str | None
    model: nn.Module | None

    def with_model(self, model: nn.Module) -> Refit:
        """The same, with a module to put the weights in. ArgumentError when it has others."""
        own = {name: tuple(tensor.shape) for name, tensor in [*model.named_parameters(), *model.named_buffers()]}
        saved = {name: tuple(tensor.shape[1:]) for name, tensor in self.weights.items()}
        for name in [*saved, *own]:
            if own.get(name) != saved.get(name):
                here, there = own.get(name, "nothing"), saved.get(name, "nothing")
                raise ArgumentError(f"model is not the one that was trained: its {name} is {here}, that one's {there}")
        return dataclasses.replace(self, model=model)

    def module(self, place: int) -> StandardizedModel:
        """A new module with the weights of the strength at this place, in evaluation mode."""
        if self.model is None:
            raise ArgumentError(
                "model(strength) needs the module that was trained, which files do not hold: "
                "RegularizationPath.load(directory, model=...) with the module or the function that makes it"
            )
        self._check_finite(place)
        model = copy.deepcopy(self.model)
        with torch.no_grad():
            for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
                tensor.copy_(self.weights[name][place])
        return StandardizedModel(model, self.scaling).eval()

    def coefficients(self, name: str | None = None) -> Any:
        """The array (strengths, *shape) of one weight, or a dict of those of all penalized ones."""
        if name is None:
            return {each: self.weights[each].numpy().copy() for each in self.penalized}
        for found in (name, f"{name}.weight" if name else "weight"):
            if found in self.weights:
                return self.weights[found].numpy().copy()
        raise TargetError(f"coefficients: the model has no weight {name!r:.80}: {nearest(str(name), self.weights)}")

    def selected_features(self, place: int) -> list[int]:
        """The inputs, flattened, whose weights at this strength are not all zero."""
        if self.input_weight is None:
            raise TargetError(
                "selected_features needs a penalty on the weight of the linear layer that takes the inputs themselves; "
                f"penalized are {', '.join(self.penalized) or 'no weights'}"
            )
        self._check_finite(place)
        weight = self.weights[self.input_weight][place]
        return [int(feature) for feature in torch.nonzero((weight != 0).any(dim=0)).flatten()]

    def linear_coefficients(self) -> np.ndarray:
        """The weights (strengths, outputs, inputs) of a model that is one linear layer."""
        layer = (self.input_weight or "").rpartition("weight")[0]
        if self.input_weight is None or not self.weights.keys() <= {self.input_weight, f"{layer}bias"}:
            raise TargetError(
                "plot_coefficients draws the penalized weights of a model that is one linear layer; this one holds "
                f"{', '.join(self.weights):.160}"
            )
        array: np.ndarray = self.weights[self.input_weight].numpy().copy()
        return array

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Refit):
            return NotImplemented
        own, others = self.tensors(), other.tensors()
        return (
            (self.penalized, self.input_weight) == (other.penalized, other.input_weight)
            and own.keys() == others.keys()
            and all(_same(own[name], others[name]) for name in own)
        )

    __hash__ = None  # type: ignore[assignment]

    def _check_finite(self, place: int) -> None:
        if not all(bool(stacked[place].isfinite().all()) for stacked in self.weights.values()):
            raise DataError(f"the model of strength {self.strengths[place]:.6g} did not stay finite on all rows")

    def tensors(self) -> dict[str, torch.Tensor]:
        """All arrays by name, as they are saved."""
        arrays = {name: torch.from_numpy(getattr(self, name)) for name in ("strengths", "train_loss", "zeros")}
        weights = {f"weights/{name}": tensor for name, tensor in self.weights.items()}
        return {**arrays, **vars(self.scaling), **weights}

    @classmethod
    def of_tensors(
        cls, tensors: dict[str, torch.Tensor], penalized: tuple[str, ...], input_weight: str | None
    ) -> Refit:
        """What `tensors` gave. ArgumentError, saying what is missing, when that cannot be."""
        rest = dict(tensors)
        weights = {name.removeprefix("weights/"): rest.pop(name) for name in tensors if name.startswith("weights/")}
        scaling = [field.name for field in dataclasses.fields(Scaling)]
        arrays = ["strengths", "train_loss", "zeros"]
        if set(rest) != {*scaling, *arrays}:
            raise ArgumentError(f"expected {', '.join([*arrays, *scaling])} and weights, got {', '.join(rest)[:160]}")
        count = rest["strengths"].shape
        if len(count) != 1 or any(rest[name].shape != count or rest[name].dtype != torch.float64 for name in arrays):
            raise ArgumentError("strengths, train_loss and zeros must be float64, one number a strength")
        if not weights or any(tensor.shape[:1] != count for tensor in weights.values()):
            raise ArgumentError(f"every weight must have {count[0]} strengths along its first axis")
        missing = [name for name in (*penalized, *filter(None, [input_weight])) if name not in weights]
        if missing:
            raise ArgumentError(f"there is no weight {missing[0]!r:.80}")
        return cls(
            **{name: rest[name].numpy() for name in arrays},
            weights=weights,
            scaling=Scaling(*(rest[name] for name in scaling)),
            penalized=penalized,
            input_weight=input_weight,
            model=None,
        )


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    equal_nan = one.is_floating_point()
    return one.dtype == other.dtype and np.array_equal(one.numpy(), other.numpy(), equal_nan=equal_nan)
