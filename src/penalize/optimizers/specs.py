"""The optimizers by Keras's names, with Keras's arguments and defaults."""

from __future__ import annotations

from typing import Any, ClassVar

from penalize.arguments import number
from penalize.errors import ArgumentError
from penalize.optimizers import rules
from penalize.optimizers.base import Optimizer
from penalize.registry import built_in

__all__ = ["Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Lion", "Nadam", "RMSprop", "SGD"]


@built_in("optimizer", module="keras.optimizers", names=["sgd"])
class SGD(Optimizer):
    """Stochastic gradient descent with momentum: `v = momentum v - lr g; w += v`.

    Parameters: `learning_rate` 0.01; `momentum` 0, in [0, 1]; `nesterov` False, looks one step of momentum ahead; the
    others are every optimizer's. Source: Keras 3.15.1.

    >>> SGD(0.1, momentum=0.9)
    SGD(learning_rate=0.1, momentum=0.9)
    """

    rule = rules.SGDRule
    default_name = "sgd"

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        self.momentum = number("momentum", momentum, 0.0, 1.0)
        self.nesterov = bool(nesterov)

    def settings(self) -> dict[str, Any]:
        return {"momentum": self.momentum, "nesterov": self.nesterov}


@built_in("optimizer", module="keras.optimizers", names=["rmsprop"])
class RMSprop(Optimizer):
    """`v = rho v + (1 - rho) g**2; w -= lr g / sqrt(v + epsilon)`: epsilon is inside of the square root.

    Parameters: `learning_rate` 0.001; `rho` 0.9, in [0, 1]; `momentum` 0, in [0, 1]; `epsilon` 1e-7; `centered` False,
    takes the squared mean of g from v; the others are every optimizer's. Source: Keras 3.15.1.
    """

    rule = rules.RMSpropRule
    default_name = "rmsprop"

    def __init__(
        self,
        learning_rate: float = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        self.rho = number("rho", rho, 0.0, 1.0)
        self.momentum = number("momentum", momentum, 0.0, 1.0)
        self.epsilon = number("epsilon", epsilon, 0.0)
        self.centered = bool(centered)

    def settings(self) -> dict[str, Any]:
        return {"rho": self.rho, "momentum": self.momentum, "eps": self.epsilon, "centered": self.centered}


@built_in("optimizer", module="keras.optimizers", names=["adam"])
class Adam(Optimizer):
    """`w -= lr sqrt(1 - b2**t) / (1 - b1**t) m / (sqrt(v) + epsilon)`, m and v the running means of g and g**2.

    Parameters: `learning_rate` 0.001; `beta_1` 0.9 and `beta_2` 0.999, in [0, 1); `epsilon` 1e-7, added to the
    uncorrected sqrt(v); `amsgrad` False, takes the largest v so far; the others are every optimizer's.
    Source: Keras 3.15.1; Kingma and Ba, 2014.
    """

    rule: ClassVar[type[rules.Rule]] = rules.AdamRule
    default_name = "adam"

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        self.beta_1, self.beta_2 = _betas(beta_1, beta_2)
        self.epsilon = number("epsilon", epsilon, 0.0)
        self.amsgrad = bool(amsgrad)

    def settings(self) -> dict[str, Any]:
        # "eps" is what torch's Adam would need for the same step; the rule renews it from "epsilon".
        betas = (self.beta_1, self.beta_2)
        return {"betas": betas, "epsilon": self.epsilon, "eps": self.epsilon, "amsgrad": self.amsgrad}


@built_in("optimizer", module="keras.optimizers", names=["adamw"])
class AdamW(Adam):
    """`Adam` with decoupled weight decay, 0.004 by default.

    Parameters: `learning_rate` 0.001; `weight_decay` 0.004; then Adam's. Source: Keras 3.15.1; Loshchilov and Hutter,
    2017.
    """

    rule = rules.AdamWRule
    default_name = "adamw"

    def __init__(
        self,
        learning_rate: float = 0.001,
        weight_decay: float | None = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        if weight_decay is None:
            raise ArgumentError("weight_decay must be a number >= 0, got None: use Adam for no decay")
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            amsgrad,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            name,
        )


@built_in("optimizer", module="keras.optimizers", names=["adagrad"])
class Adagrad(Optimizer):
    """`a += g**2; w -= lr g / sqrt(a + epsilon)`: epsilon is inside of the square root.

    Parameters: `learning_rate` 0.001; `initial_accumulator_value` 0.1, the a before the first step; `epsilon` 1e-7; the
    others are every optimizer's. Source: Keras 3.15.1.
    """

    rule = rules.AdagradRule
    default_name = "adagrad"

    def __init__(
        self,
        learning_rate: float = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        self.initial_accumulator_value = number("initial_accumulator_value", initial_accumulator_value, 0.0)
        self.epsilon = number("epsilon", epsilon, 0.0)

    def settings(self) -> dict[str, Any]:
        return {"initial_accumulator_value": self.initial_accumulator_value, "eps": self.epsilon}


@built_in("optimizer", module="keras.optimizers", names=["adadelta"])
class Adadelta(Optimizer):
    """`d = g sqrt(D + epsilon) / sqrt(v + epsilon); w -= lr d`, v and D the running means of g**2 and d**2.

    Parameters: `learning_rate` 0.001; `rho` 0.95, in [0, 1]; `epsilon` 1e-7; the others are every optimizer's.
    Source: Keras 3.15.1; Zeiler, 2012.
    """

    rule = rules.AdadeltaRule
    default_name = "adadelta"

    def __init__(
        self,
        learning_rate: float = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        self.rho = number("rho", rho, 0.0, 1.0)
        self.epsilon = number("epsilon", epsilon, 0.0)

    def settings(self) -> dict[str, Any]:
        return {"rho": self.rho, "eps": self.epsilon}


class TwoBetas(Optimizer):
    """The arguments that Adamax and Nadam share."""

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        self.beta_1, self.beta_2 = _betas(beta_1, beta_2)
        self.epsilon = number("epsilon", epsilon, 0.0)

    def settings(self) -> dict[str, Any]:
        return {"betas": (self.beta_1, self.beta_2), "eps": self.epsilon}


@built_in("optimizer", module="keras.optimizers", names=["adamax"])
class Adamax(TwoBetas):
    """`u = max(b2 u, abs(g)); w -= lr / (1 - b1**t) m / (u + epsilon)`, m the running mean of g.

    Parameters: `learning_rate` 0.001; `beta_1` 0.9 and `beta_2` 0.999, in [0, 1); `epsilon` 1e-7; the others are every
    optimizer's. Source: Keras 3.15.1; Kingma and Ba, 2014, section 7.1.
    """

    rule = rules.AdamaxRule
    default_name = "adamax"


@built_in("optimizer", module="keras.optimizers", names=["nadam"])
class Nadam(TwoBetas):
    """Adam with Nesterov momentum; the momentum of step t is `b1 (1 - 0.96**t / 2)`.

    Parameters: `learning_rate` 0.001; `beta_1` 0.9 and `beta_2` 0.999, in [0, 1); `epsilon` 1e-7; the others are every
    optimizer's. Source: Keras 3.15.1; Dozat, 2016.
    """

    rule = rules.NadamRule
    default_name = "nadam"

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "momentum_decay": 1.0}


@built_in("optimizer", module="keras.optimizers", names=["lion"])
class Lion(Optimizer):
    """`w -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g`.

    Parameters: `learning_rate` 0.001; `beta_1` 0.9, in (0, 1]; `beta_2` 0.99, in [0, 1]; the others are every
    optimizer's. Source: Keras 3.15.1; Chen et al., 2023.
    """

    rule = rules.LionRule
    default_name = "lion"

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, name)
        self.beta_1 = number("beta_1", beta_1, 0.0, 1.0, above=True)
        self.beta_2 = number("beta_2", beta_2, 0.0, 1.0)

    def settings(self) -> dict[str, Any]:
        return {"betas": (self.beta_1, self.beta_2)}


def _betas(beta_1: float, beta_2: float) -> tuple[float, float]:
    for argument, value in (("beta_1", beta_1), ("beta_2", beta_2)):
        if number(argument, value, 0.0, 1.0) == 1.0:
            raise ArgumentError(f"{argument} must be a number in [0, 1), got {value!r}")
    return float(beta_1), float(beta_2)
