"""Keywords of Keras's `compile`, `fit`, `evaluate` and `predict` that are not here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from penalize.errors import ArgumentError, nearest

__all__ = ["refuse_keywords"]

# Of each keyword the values at which it changes nothing, and what to do for any other.
NOT_HERE: Mapping[str, Mapping[str, tuple[tuple[Any, ...], str]]] = {
    "compile": {
        "loss_weights": ((None, 1, [1]), "a model has one loss: multiply it in a loss function of your own"),
        "weighted_metrics": ((None, []), "give them as metrics, which count every sample alike"),
        "run_eagerly": ((False, True), "steps always run eagerly"),
        "steps_per_execution": ((1,), "every step is run by itself: leave it out"),
        "jit_compile": (("auto", False, None), "compile the layers with torch.compile"),
        "auto_scale_loss": ((True, False), "nothing is scaled here: leave it out"),
    },
    "fit": {
        "initial_epoch": ((0,), "leave it out: a further fit goes on where the last one stopped"),
        "steps_per_epoch": ((None,), 'give trainer={"limit_train_batches": number}'),
        "validation_steps": ((None,), 'give trainer={"limit_val_batches": number}'),
        "validation_freq": ((1,), 'give trainer={"check_val_every_n_epoch": number}'),
    },
    "evaluate": {
        "steps": ((None,), 'give trainer={"limit_val_batches": number}'),
        "callbacks": ((None, []), "fit takes them"),
    },
    "predict": {
        "steps": ((None,), 'give trainer={"limit_predict_batches": number}'),
        "callbacks": ((None, []), "fit takes them"),
    },
}


def refuse_keywords(where: str, method: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Take Keras's further keywords of a method at the values that change nothing.

    Raises ArgumentError for other values, which says what to do instead, and for keywords that Keras has not either.
    """
    not_here = NOT_HERE[method.__name__]
    for key, value in given.items():
        if key not in not_here:
            known = [*inspect.signature(method).parameters, *not_here]
            known.remove("unused")
            raise ArgumentError(f"{where}: {method.__name__}: unknown argument {key!r}: {nearest(key, known)}")
        accepted, instead = not_here[key]
        if not any(type(value) in (type(other), float) and value == other for other in accepted):
            raise ArgumentError(
                f"{where}: {method.__name__}: {key}={value!r:.80} is not available in penalize: {instead}"
            )
