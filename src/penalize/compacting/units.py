"""Layers with units: linear maps and convolutions, seen as a table of outputs by inputs."""

from __future__ import annotations

import torch
from torch import nn

from penalize.compacting.parts import channel_axis, cut_parameter
from penalize.compacting.places import Part, Place
from penalize.layers import Layer

__all__ = ["Units"]


class Units(Part):
    """A Linear, Dense or convolution; its units are its output features or channels.

    While it is looked at, `reads` says of each (unit, input) whether a weight between them is not zero, `bias` holds
    the bias with all constants that were folded in, in float64, and `kept` the units that stay. A layer is `blank` when
    none had to stay: the one that does, as a layer needs one, has no weights but zeros.
    """

    def check(self) -> None:
        if getattr(self.module, "groups", 1) != 1:
            raise self.refusal(f"has groups={self.module.groups}; compact takes convolutions of one group")
        if not self.module.weight.is_floating_point():
            raise self.refusal(f"has weights of {self.module.weight.dtype}; floating numbers are expected")

    def look(self) -> None:
        """Read the weights."""
        weight = self.module.weight.detach()
        self.reads = (weight != 0).flatten(2).any(2).cpu() if weight.ndim > 2 else (weight != 0).cpu()
        self.kept = torch.ones(len(weight), dtype=torch.bool)
        bias = self.module.bias
        self.bias = (torch.zeros(len(weight)) if bias is None else bias.detach().cpu()).double()
        self.blank = False

    def axis(self, axes: int) -> int:
        """The axis of its inputs' features or channels, and of its units, of so many."""
        return channel_axis(self.module, axes) if self.module.weight.ndim > 2 else axes - 1

    def units(self) -> int | None:
        return len(self.module.weight)

    def own_place(self, output: torch.Size) -> Place:
        """Where its units stand in its output."""
        return Place(self.axis(len(output)), torch.arange(len(self.module.weight)))

    def placed(self, place: Place, shape: torch.Size, output: torch.Size) -> Place:
        self.expect_axis(self.axis(len(shape)), place)
        return place

    def sees_zeros(self) -> bool:
        """Whether zeros are put around its input, so that at the border a constant input is not constant."""
        module = self.module
        if module.weight.ndim == 2 or getattr(module, "padding_mode", "zeros") != "zeros":
            return False
        if isinstance(module.padding, str):
            return module.padding != "valid" and max(module.kernel_size) > 1
        return any(module.padding)

    def fold(self, inputs: torch.Tensor, value: torch.Tensor) -> None:
        """Put into the bias what these inputs, which are constant, add to each unit."""
        weight = self.module.weight.detach()[:, inputs.to(self.module.weight.device)].cpu().double()
        self.bias += (weight.flatten(2).sum(2) if weight.ndim > 2 else weight) @ value

    def cut_to(self, inputs: torch.Tensor) -> None:
        """Make the module as small as its kept units and these inputs, with all that was folded in."""
        module, units = self.module, self.kept.nonzero().flatten()
        weight = module.weight
        gone = (~self.reads).reshape(*self.reads.shape, *(1,) * (weight.ndim - 2)).to(weight.device)
        blank = weight.detach().masked_fill(gone, 0)
        module.weight = nn.Parameter(blank, weight.requires_grad)
        cut_parameter(module, "weight", 0, units)
        cut_parameter(module, "weight", 1, inputs)
        bias = self.bias[units].to(weight)
        if module.bias is not None:
            module.bias = nn.Parameter(bias, module.bias.requires_grad)
        elif bias.any():
            module.bias = nn.Parameter(bias, weight.requires_grad)
            if isinstance(module, Layer):
                module.use_bias = True
        self._state_sizes(len(units), len(inputs))

    def _state_sizes(self, units: int, inputs: int) -> None:
        module = self.module
        if isinstance(module, Layer):
            setattr(module, "units" if module.weight.ndim == 2 else "filters", units)
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = units, inputs
        else:
            module.out_channels, module.in_channels = units, inputs
