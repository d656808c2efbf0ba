"""Which classes of modules `compact` knows, and why it cannot take others."""

from __future__ import annotations

from torch import nn

from penalize import layers
from penalize.compacting.parts import (
    ELEMENTWISE,
    BatchNorm,
    Dropping,
    Elementwise,
    Flattening,
    Padding,
    Pooling,
    Scaling,
    Slopes,
)
from penalize.compacting.places import Part
from penalize.compacting.units import Units

__all__ = ["AT_THE_ENDS", "PARTS", "is_replaced", "reason_against"]

PARTS: dict[type[nn.Module], type[Part]] = {
    **dict.fromkeys((nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d), Units),
    **dict.fromkeys((layers.Dense, layers.Conv1D, layers.Conv2D, layers.Conv3D), Units),
    **dict.fromkeys((*ELEMENTWISE, layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU), Elementwise),
    **dict.fromkeys((nn.PReLU, layers.PReLU), Slopes),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, layers.BatchNormalization), BatchNorm),
    **dict.fromkeys((nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), Dropping),
    **dict.fromkeys((nn.AlphaDropout, nn.FeatureAlphaDropout, layers.Dropout, layers.GaussianNoise), Dropping),
    **dict.fromkeys((layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D), Dropping),
    **dict.fromkeys((nn.Identity, layers.Identity, layers.ActivityRegularization), Part),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), Pooling),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), Pooling),
    **dict.fromkeys((nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d), Pooling),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), Pooling),
    **dict.fromkeys((layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D), Pooling),
    **dict.fromkeys((layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D), Pooling),
    **dict.fromkeys((layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D), Pooling),
    **dict.fromkeys(
        (layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D), Pooling
    ),
    **dict.fromkeys((nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d), Padding),
    **dict.fromkeys((nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d), Padding),
    **dict.fromkeys((nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d), Padding),
    **dict.fromkeys((nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d), Padding),
    **dict.fromkeys((nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d), Padding),
    **dict.fromkeys((layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D), Padding),
    **dict.fromkeys((nn.Flatten, layers.Flatten), Flattening),
    layers.Rescaling: Scaling,
}
"""Modules that act on each unit alone, by their class: a subclass may compute something else."""

AT_THE_ENDS: tuple[type[nn.Module], ...] = (
    *(nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.Softmax2d, layers.Softmax),
    *(nn.Unflatten, layers.Reshape, layers.Permute),
)
"""Modules that mix or move units: taken before the first and behind the last layer with units, where none is cut."""

REASONS = {
    "Norm": "normalizes over several units together, so that none can be cut alone",
    "Normalization": "normalizes over several units together, so that none can be cut alone",
    "LSTM": "is recurrent: its units read each other",
    "GRU": "is recurrent: its units read each other",
    "RNN": "is recurrent: its units read each other",
    "Attention": "is attention: its units read each other",
    "Transformer": "is attention: its units read each other",
    "Embedding": "is an embedding, which takes indices",
    "Depthwise": "is a depthwise convolution: it has a group for each unit",
    "Separable": "is a depthwise convolution: it has a group for each unit",
    "Transpose": "is a transposed convolution, of which a constant is not constant",
}


def is_replaced(module: nn.Module) -> bool:
    """Whether one object computes something else than its class."""
    return any(name in vars(module) for name in ("forward", "call", "_conv_forward"))


def reason_against(module: nn.Module) -> str:
    """Why a module of an unknown class is refused."""
    if is_replaced(module):
        return "has a forward that was replaced"
    name = type(module).__name__
    for word, reason in REASONS.items():
        if word in name:
            return reason
    if next(module.children(), None) is not None:
        return "has a forward of its own, which may add or reuse outputs; only Sequential chains are taken"
    return "is of a class that is not known to act on each unit alone"
