"""What `compile` was given as a config in Keras's form, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from penalize import losses, metrics, optimizers
from penalize.errors import ConfigError, PenalizeError, nearest

__all__ = ["compile_from_config", "config_of_compilation"]

# What Keras writes besides, and the values at which it changes nothing that is computed.
WITHOUT: dict[str, tuple[Any, ...]] = {
    "loss_weights": (None,),
    "weighted_metrics": (None, []),
    "run_eagerly": (),
    "steps_per_execution": (),
    "jit_compile": (),
    "auto_scale_loss": (),
}


def config_of_compilation(
    optimizer: Any, loss: Any, chosen_metrics: Any, built: torch.optim.Optimizer | None
) -> dict[str, Any]:
    """The config of these arguments of `compile`; the learning rate is that of the optimizer that was `built` of it.

    Raises ConfigError for torch's optimizers and losses, torchmetrics' objects, and functions that are not registered.
    """
    if not isinstance(optimizer, optimizers.Optimizer):
        raise ConfigError(f"the optimizer {optimizer!r:.80} is torch's, and has no config that could be read back")
    config = optimizers.serialize(optimizer) or {}
    if built is not None:
        config["config"]["learning_rate"] = float(built.param_groups[0]["lr"])
    return {
        "optimizer": config,
        "loss": loss if isinstance(loss, str) else losses.serialize(losses.get(loss)),
        "metrics": [metrics.serialize(_as_metric(metric)) for metric in chosen_metrics],
    }


def compile_from_config(model: Any, config: Mapping[str, Any]) -> None:
    """Compile a model as `config` says. Raises ConfigError, which says how to load without, for what cannot be read."""
    try:
        for key, value in config.items():
            if key not in ("optimizer", "loss", "metrics", *WITHOUT):
                known = nearest(str(key), ["optimizer", "loss", "metrics"])
                raise ConfigError(f"unknown key {str(key)[:80]!r}: {known}")
            if WITHOUT.get(key) and value not in WITHOUT[key]:
                raise ConfigError(f"{key}={value!r:.80} is not supported")
        loss = config.get("loss")
        chosen = config.get("metrics") or []
        if not isinstance(chosen, list):
            raise ConfigError(f"metrics must be a list, got {chosen!r:.80}")
        optimizer = optimizers.deserialize(config.get("optimizer", "rmsprop"))
        if optimizer is None:
            raise ConfigError("there is no optimizer")
        made = losses.deserialize(loss)
        named = [name if isinstance(name, str) else metrics.deserialize(name, loss=made) for name in chosen]
        model.compile(optimizer, loss if isinstance(loss, str) else made, named)
    except PenalizeError as error:
        raise ConfigError(f"the settings of compile: {error}; load with compile=False to leave them out") from error


def _as_metric(identifier: Any) -> Any:
    """Names stay names, as Keras writes them."""
    return identifier if isinstance(identifier, str) else metrics.get(identifier)
