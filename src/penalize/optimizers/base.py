"""The base of optimizer specs: Keras's arguments, checked, to be built into a torch optimizer."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, ClassVar, Self

import torch

from penalize.arguments import number
from penalize.errors import ArgumentError
from penalize.optimizers.clipping import CLIPPING
from penalize.optimizers.rules import Rule

__all__ = ["Optimizer"]


class Optimizer:
    """What to optimize with: a name, a learning rate and the method's own numbers. `build` makes it act on parameters.

    Parameters that all share: `learning_rate`, a number >= 0; `weight_decay`, subtracts `lr * weight_decay * w` from
    every weight before each update (None: no decay); `clipnorm`, the largest norm of one gradient, `clipvalue`, the
    largest absolute element, `global_clipnorm`, the largest norm of all gradients together (one of them at most);
    `name`.

    Raises `ArgumentError`, naming the argument, for a value that cannot work. Source: Keras 3.15.1's optimizers.
    """

    rule: ClassVar[type[Rule]]
    default_name: ClassVar[str] = "optimizer"

    def __init__(
        self,
        learning_rate: float = 0.001,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        self.learning_rate = number("learning_rate", learning_rate, 0.0)
        self.weight_decay = None if weight_decay is None else number("weight_decay", weight_decay, 0.0)
        limits = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        given = [key for key in CLIPPING if limits[key] is not None]
        if len(given) > 1:
            values = ", ".join(f"{key}={limits[key]!r}" for key in given)
            raise ArgumentError(f"only one of clipnorm, clipvalue and global_clipnorm can be set, got {values}")
        self.clipnorm, self.clipvalue, self.global_clipnorm = (
            None if limits[key] is None else number(key, limits[key], 0.0, above=True) for key in CLIPPING
        )
        self.name = self.default_name if name is None else name

    def build(self, parameters: Iterable[Any]) -> torch.optim.Optimizer:
        """A new torch optimizer of these parameters (or parameter groups) with Keras's update rule.

        >>> from penalize.optimizers import Adam
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = Adam(0.1).build([weight])
        >>> weight.sum().backward()
        >>> optimizer.step()
        >>> weight.data
        tensor([0.9000, 0.9000])
        """
        shared = {
            "lr": self.learning_rate,
            "weight_decay": self.weight_decay or 0.0,
            **{key: getattr(self, key) for key in CLIPPING},
        }
        return self.rule(parameters, **shared, **self.settings())

    def settings(self) -> dict[str, Any]:
        """The method's own settings, by the names that its rule's parameter groups have for them."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return {argument: getattr(self, argument) for argument in inspect.signature(type(self)).parameters}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A new spec with the arguments that `get_config` gave."""
        return cls(**config)

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self)).parameters
        changed = {key: value for key, value in self.get_config().items() if value != defaults[key].default}
        if changed.get("name") == self.default_name:
            del changed["name"]
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in changed.items())})"
