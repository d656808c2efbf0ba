"""A trained model that takes data in their own units."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

__all__ = ["Scaling", "StandardizedModel"]


@dataclass(frozen=True)
class Scaling:
    """What stands between data in their own units and what was trained on.

    Of each input of the model, flattened: `columns`, the place of what is given for it, and `marks`, whether it is 1
    where that is missing, and else 0. Of inputs, tensors of the shape of one row: `input_fill`, which stands for NaN;
    `input_mean` and `input_factor`, one by the deviation, or 0 where an input is constant. Of the target, scalars:
    `target_mean` and `target_deviation`, which are 0 and 1 for classification.
    """

    columns: torch.Tensor
    marks: torch.Tensor
    input_fill: torch.Tensor
    input_mean: torch.Tensor
    input_factor: torch.Tensor
    target_mean: torch.Tensor
    target_deviation: torch.Tensor


class StandardizedModel(nn.Module):
    """`model((x - input_mean) * input_factor) * target_deviation + target_mean`, where x has `input_fill` for NaN.

    Inputs (batch, features, ...) of any floating-point dtype, in the units of the data; they are computed with in the
    dtype of the model. NaN is a missing value; inputs that mark those are made here. For regression the output is in
    the target's units, for classification it is the logits. The numbers of `Scaling` are buffers: `state_dict`,
    `.to()` and `torch.save` know them.

    >>> import torch
    >>> given = (torch.tensor([0]), torch.tensor([False]))
    >>> scaling = Scaling(*given, *(torch.tensor(number) for number in ([0.0], [1.0], [0.5], 10.0, 5.0)))
    >>> StandardizedModel(torch.nn.Identity(), scaling)(torch.tensor([[3.0]]))
    tensor([[15.]])
    """

    columns: torch.Tensor
    marks: torch.Tensor
    input_fill: torch.Tensor
    input_mean: torch.Tensor
    input_factor: torch.Tensor
    target_mean: torch.Tensor
    target_deviation: torch.Tensor

    def __init__(self, model: nn.Module, scaling: Scaling) -> None:
        super().__init__()
        self.model = model
        for name, value in vars(scaling).items():
            self.register_buffer(name, value.clone())
        self.has_marks = bool(scaling.marks.any())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        given = x.to(self.input_mean.dtype)
        if self.has_marks:
            given = given[:, self.columns]
        missing = given.isnan()
        filled = torch.where(missing, self.input_fill, given)
        if self.has_marks:
            filled = torch.where(self.marks, missing.to(given.dtype), filled)
        output: torch.Tensor = self.model((filled - self.input_mean) * self.input_factor)
        return output * self.target_deviation + self.target_mean
