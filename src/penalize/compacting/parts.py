"""The parts between layers with units: how each hands on constants, and how it is cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from penalize.activations import functions
from penalize.compacting.places import Constants, Part, Place, computes
from penalize.layers import Layer

__all__ = [
    "BatchNorm",
    "Dropping",
    "Elementwise",
    "Flattening",
    "Padding",
    "Pooling",
    "Scaling",
    "Slopes",
    "acts_elementwise",
    "channel_axis",
    "cut_parameter",
    "rank_of",
]

MIXING = ("softmax", "log_softmax", "sparsemax", "glu")
TORCHS = (
    *("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "hardtanh", "hardsigmoid"),
    *("hardswish", "hardshrink", "softshrink", "tanhshrink", "softplus", "softsign", "logsigmoid"),
)
FUNCTIONS: list[Callable[..., torch.Tensor]] = [
    *(getattr(functions, name) for name in functions.__all__ if name not in MIXING),
    *(getattr(nn.functional, name) for name in TORCHS),
    *(torch.relu, torch.sigmoid, torch.tanh, torch.abs, torch.exp, torch.sin, torch.cos, torch.square),
]
ELEMENTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid, nn.Tanh),
    *(nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink, nn.Softplus),
    *(nn.Softsign, nn.LogSigmoid, nn.Threshold),
)


def acts_elementwise(function: Any) -> bool:
    """Whether an activation, a function or a module, is known to act on each element alone, without weights."""
    if isinstance(function, nn.Module):
        return type(function) in ELEMENTWISE
    return any(function is known for known in FUNCTIONS)


def rank_of(module: Any) -> int:
    """The number of spatial axes of a convolution, pooling or padding."""
    return int(module.rank) if isinstance(module, Layer) else int(type(module).__name__[-2])


def channel_axis(module: Any, axes: int) -> int:
    """Which of so many axes of an input a convolution, pooling or padding takes for the channels."""
    if isinstance(module, Layer):
        return 1 if module.data_format == "channels_first" else axes - 1
    return axes - rank_of(module) - 1


def cut_parameter(module: nn.Module, name: str, axis: int, kept: torch.Tensor) -> None:
    """Keep only these entries along an axis of a parameter or buffer, if there is one of this name."""
    tensor = getattr(module, name, None)
    if tensor is None:
        return
    smaller = tensor.detach().index_select(axis, kept.to(tensor.device))
    setattr(module, name, nn.Parameter(smaller, tensor.requires_grad) if name in module._parameters else smaller)


class Elementwise(Part):
    """A function of each element, the same for all."""

    def __init__(self, path: str, module: Any, function: Callable[[torch.Tensor], torch.Tensor] | None = None) -> None:
        super().__init__(path, module)
        self.function = computes(module) if function is None else function

    def check(self) -> None:
        function = getattr(self.module, "activation", None)
        if function is not None and not acts_elementwise(function):
            name = getattr(function, "__name__", type(function).__name__)
            raise self.refusal(f"has the activation {name}, which is not known to act on each unit alone")

    def through(self, constants: Constants) -> Constants:
        with torch.no_grad():
            value = self.function(constants.value.clone())
        return Constants(constants.known, value.to(constants.value.dtype))


class Scaling(Elementwise):
    """Rescaling by one number for all."""

    def check(self) -> None:
        for name in ("scale", "offset"):
            value = getattr(self.module, name)
            if not isinstance(value, int | float):
                raise self.refusal(f"has a {name} for each unit; one number for all is expected, got {value!r:.80}")


class Dropping(Part):
    """Dropout and noise: the identity in eval mode."""

    def placed(self, place: Place, shape: torch.Size, output: torch.Size) -> Place:
        noise_shape = getattr(self.module, "noise_shape", None)
        if noise_shape is not None and tuple(noise_shape)[place.axis : place.axis + 1] not in ((None,), (1,)):
            raise self.refusal(f"has the noise_shape {tuple(noise_shape)}, which fixes the number of units")
        return place


class BatchNorm(Part):
    """An affine function of each entry along one axis, by the running statistics."""

    def check(self) -> None:
        if getattr(self.module, "running_mean", None) is None:
            raise self.refusal("has no running statistics, so that its outputs depend on the batch in eval mode, too")

    def placed(self, place: Place, shape: torch.Size, output: torch.Size) -> Place:
        axis = self.module.axis if isinstance(self.module, Layer) else 1
        self.expect_axis(axis % len(shape), place)
        return place

    def through(self, constants: Constants) -> Constants:
        module, value = self.module, constants.value
        epsilon = module.epsilon if isinstance(module, Layer) else module.eps
        value = (value - module.running_mean.to(value)) * torch.rsqrt(module.running_var.to(value) + epsilon)
        known = constants.known
        if module.weight is not None:
            gamma = module.weight.detach().to(value)
            known = known | (gamma == 0)
            value = torch.where(gamma == 0, 0.0, value * gamma)
        return Constants(known, value if module.bias is None else value + module.bias.detach().to(value))

    def units(self) -> int | None:
        return len(self.module.running_mean)

    def cut(self, kept: torch.Tensor) -> None:
        for name in ("weight", "bias", "running_mean", "running_var"):
            cut_parameter(self.module, name, 0, kept)
        if not isinstance(self.module, Layer):
            self.module.num_features = len(kept)


class Slopes(Part):
    """PReLU: learned slopes below zero, one for all, or one for each entry, or for each position of each entry."""

    def placed(self, place: Place, shape: torch.Size, output: torch.Size) -> Place:
        if isinstance(self.module, Layer):
            self.axis = place.axis - 1  # alpha has no batch axis
        elif self.module.num_parameters > 1:
            self.expect_axis(1, place)
        return place

    def through(self, constants: Constants) -> Constants:
        value = constants.value
        if isinstance(self.module, Layer):
            alpha = self.module.alpha.detach().to(value)
            slopes = alpha.movedim(self.axis, 0).reshape(alpha.shape[self.axis], -1)
        else:
            slopes = self.module.weight.detach().to(value)[:, None]
        alike = (slopes == slopes[:, :1]).all(1)
        known = constants.known & (alike | (value >= 0))
        return Constants(known, torch.where(value > 0, value, slopes[:, 0] * value))

    def cut(self, kept: torch.Tensor) -> None:
        if isinstance(self.module, Layer):
            if self.axis + 1 not in self.module.shared_axes:
                cut_parameter(self.module, "alpha", self.axis, kept)
        elif self.module.num_parameters > 1:
            cut_parameter(self.module, "weight", 0, kept)
            self.module.num_parameters = len(kept)


class Pooling(Part):
    """The largest value or the mean over positions: of a constant the constant, unless zeros around it count."""

    def check(self) -> None:
        if getattr(self.module, "return_indices", False):
            raise self.refusal("returns indices beside the values")

    def placed(self, place: Place, shape: torch.Size, output: torch.Size) -> Place:
        self.expect_axis(channel_axis(self.module, len(shape)), place)
        return place if len(shape) == len(output) else Place(1, place.owner)

    def through(self, constants: Constants) -> Constants:
        return _where(constants, 0.0) if self._weighs_zeros() else constants

    def _weighs_zeros(self) -> bool:
        module = self.module
        if not isinstance(module, nn.AvgPool1d | nn.AvgPool2d | nn.AvgPool3d):
            return False
        amounts = module.padding if isinstance(module.padding, tuple) else (module.padding,)
        other_divisor = getattr(module, "divisor_override", None) is not None
        return other_divisor or (module.count_include_pad and any(amounts))


class Padding(Part):
    """Values around the positions: of a constant the constant when they equal it, or are copies."""

    def placed(self, place: Place, shape: torch.Size, output: torch.Size) -> Place:
        self.expect_axis(channel_axis(self.module, len(shape)), place)
        return place

    def through(self, constants: Constants) -> Constants:
        if type(self.module).__name__.startswith(("Reflection", "Replication", "Circular")):
            return constants
        return _where(constants, getattr(self.module, "value", 0.0))


def _where(constants: Constants, value: float) -> Constants:
    """Only the constants of this value are left."""
    return Constants(constants.known & (constants.value == value), constants.value)


class Flattening(Part):
    """Several axes in one: each unit becomes the entries of all its positions."""

    def placed(self, place: Place, shape: torch.Size, output: torch.Size) -> Place:
        axis = self._axis_of(place.axis, len(shape))
        sizes = [-1 if number == place.axis else 1 for number in range(len(shape))]
        entries = torch.arange(len(place.owner)).reshape(sizes).expand(1, *shape[1:])
        line = [slice(None) if number == axis else 0 for number in range(len(output))]
        self.source = computes(self.module)(entries)[tuple(line)]
        return Place(axis, place.owner[self.source])

    def _axis_of(self, axis: int, axes: int) -> int:
        """Which axis of the output the units' axis, one of so many, becomes or becomes a part of."""
        if isinstance(self.module, Layer):
            return 1
        first, last = self.module.start_dim % axes, self.module.end_dim % axes
        if first == 0:
            raise self.refusal("flattens axis 0, that of the samples, with others")
        return axis if axis < first else max(first, axis - (last - first))

    def through(self, constants: Constants) -> Constants:
        return Constants(constants.known[self.source], constants.value[self.source])
