"""Where the units of a layer are in what comes behind it, what is known of them, and what a part of a chain is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from penalize.errors import CompactError
from penalize.layers import Layer

__all__ = ["Constants", "Part", "Place", "computes", "refusal"]


@dataclass(frozen=True)
class Place:
    """The axis along which the units of a layer stand, and which unit each entry along it belongs to."""

    axis: int
    owner: torch.Tensor


@dataclass(frozen=True)
class Constants:
    """Of each entry along the units' axis: whether it is the same for all inputs and positions, and then its value."""

    known: torch.Tensor
    value: torch.Tensor


def refusal(path: str, module: nn.Module, why: str) -> CompactError:
    """The error that names a module, and why it cannot be a part of what `compact` takes."""
    return CompactError(f"compact: {path or 'the model'} ({type(module).__name__}) {why}")


def computes(module: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """What a module computes, without the hooks and records of a call."""
    return module.call if isinstance(module, Layer) else module.forward


class Part:
    """A module between two layers with units; it acts on each unit alone.

    The base is the identity in eval mode, on any axis.
    """

    def __init__(self, path: str, module: Any) -> None:
        self.path = path
        self.module = module

    def refusal(self, why: str) -> CompactError:
        """The error that names the module."""
        return refusal(self.path, self.module, why)

    def check(self) -> None:
        """Raise CompactError when its arguments make the module something else than its class usually is."""

    def placed(self, place: Place, shape: torch.Size, output: torch.Size) -> Place:
        """Where the units are behind the module, given the shapes of its input and output.

        Raises CompactError when the module would mix them.
        """
        return place

    def through(self, constants: Constants) -> Constants:
        """What is constant behind the module, in eval mode."""
        return constants

    def cut(self, kept: torch.Tensor) -> None:
        """Keep only these entries along the units' axis."""

    def units(self) -> int | None:
        """How many units or features the module has weights for; None where it counts none."""
        return None

    def expect_axis(self, expected: int, place: Place) -> None:
        """Refuse units that stand along another axis than the module takes for its features or channels."""
        if place.axis != expected:
            raise self.refusal(f"acts along axis {expected}, but the units before it stand along axis {place.axis}")
