"""`Seeded`: what layers that draw random numbers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from penalize.arguments import integer
from penalize.layers.layer import Layer

__all__ = ["Seeded"]


class Seeded(Layer):
    """What draws random numbers: from torch's generator, or, with a seed, from one of the layer's own."""

    def __init__(self, seed: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = None if seed is None else integer("seed", seed, self.name, least=0)
        self._generators: dict[torch.device, torch.Generator] = {}

    def generator(self, device: torch.device) -> torch.Generator | None:
        """The generator to draw from; None for torch's own."""
        if self.seed is None:
            return None
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self._generators[device]

    def dropout_mask(self, shape: Sequence[int], rate: float, like: torch.Tensor) -> torch.Tensor:
        """What to multiply with in training: 0 for a random share `rate`, `1 / (1 - rate)` for the rest."""
        if rate == 1:
            return torch.zeros(tuple(shape), dtype=like.dtype, device=like.device)
        draws = torch.rand(tuple(shape), device=like.device, generator=self.generator(like.device))
        return (draws >= rate).to(like.dtype) / (1 - rate)

    def __getstate__(self) -> dict[str, Any]:
        # A generator cannot be copied; a copy begins at the seed again.
        return {**self.__dict__, "_generators": {}}
