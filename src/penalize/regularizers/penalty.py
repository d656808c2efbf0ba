"""A regularizer applied to a target, its result checked: the one place where penalties come into being."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from penalize.errors import ArrayError, PenalizeError, PenaltyError, ShapeError
from penalize.regularizers.arrays import no_terms, widen
from penalize.regularizers.base import is_of_whole_batch
from penalize.regularizers.distributed import adds_up, is_distributed, own_part, total_over_parts, whole
from penalize.regularizers.norms import strengths_of, sum_of_both

__all__ = ["activity_penalty", "check_penalty", "in_autocast", "penalties", "penalty", "refuse_nan"]


def penalties(asked: Iterable[tuple[Any, torch.Tensor, str]]) -> list[torch.Tensor]:
    """The penalty of each (regularizer, tensor, name of the target); those of DTensors share their communication."""
    values = []
    parts: dict[int, torch.Tensor] = {}
    for regularizer, x, target in asked:
        if not is_distributed(x):
            values.append(_penalty(regularizer, x, target))
        elif adds_up(regularizer):
            parts[len(values)] = x
            own = own_part(x)
            values.append(_penalty(regularizer, own, target) if own.numel() else no_terms(widen(own, target)))
        else:
            values.append(_penalty(regularizer, whole(x), target))
    if parts:
        totals = total_over_parts([(values[index], x) for index, x in parts.items()])
        for index, value in zip(parts, totals, strict=True):
            values[index] = value
    return values


def penalty(regularizer: Any, x: torch.Tensor, target: str) -> torch.Tensor:
    """regularizer(x) as a 0-d tensor on x's device, float32 at least.

    Python and NumPy numbers that a custom regularizer returns become tensors. Raises `PenaltyError`, naming the
    target, when the result is not one real number; the errors of the regularizer itself name the target too. Inside
    `torch.autocast`, which would take matrix products in half precision, the regularizer runs outside of it. That of a
    DTensor is the penalty of the whole, the same on all processes, which must all ask for it.
    """
    return penalties([(regularizer, x, target)])[0] if is_distributed(x) else _penalty(regularizer, x, target)


def _penalty(regularizer: Any, x: torch.Tensor, target: str) -> torch.Tensor:
    try:
        value = _without_autocast(regularizer, x) if in_autocast(x) else regularizer(x)
    except (ArrayError, ShapeError) as error:
        raise type(error)(f"{target}: {error}") from error
    except Exception as error:
        error.add_note(f"raised by the regularizer of {target}")
        raise
    if isinstance(value, torch.Tensor):
        if value.numel() != 1 or value.dtype.is_complex:
            raise _not_one_number(regularizer, target, f"a tensor of shape {tuple(value.shape)} and {value.dtype}")
        value = value.reshape(()) if value.ndim else value
        return value if _is_wide(value.dtype) else value.float()
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return torch.as_tensor(
            float(value), dtype=x.dtype if x.dtype == torch.float64 else torch.float32, device=x.device
        )
    raise _not_one_number(regularizer, target, f"{type(value).__name__}: {value!r:.60}")


def activity_penalty(regularizer: Any, output: torch.Tensor, target: str) -> torch.Tensor:
    """The penalty of a layer's output divided by its batch size, the size of axis 0.

    An empty batch gives 0. An output of rank 0 is not divided, nor is the penalty of a regularizer that is declared one
    of the whole batch. Source: Keras 3.15.1.
    """
    if output.ndim == 0:
        return penalty(regularizer, output, target)
    batch = output.shape[0]
    if batch == 0:
        output = own_part(output) if is_distributed(output) else output
        return no_terms(widen(output, target))  # type: ignore[no-any-return]
    strengths = strengths_of(regularizer)
    if strengths is not None and any(strengths) and type(output) is torch.Tensor and _is_wide(output.dtype):
        # The same with fewer operations, for what most activity penalties are.
        l1, l2 = strengths
        return sum_of_both(output, l1 / batch, l2 / batch)
    value = penalty(regularizer, output, target)
    return value if is_of_whole_batch(regularizer) else value / batch


def check_penalty(regularizer: Any, x: torch.Tensor, target: str) -> None:
    """Refuse now what would fail at the first step: a rank that does not fit, no single number, NaN of finite values.

    Tensors without values (on the device "meta") are not looked at.
    """
    if regularizer is None or x.is_meta:
        return
    with torch.no_grad():
        refuse_nan(regularizer, penalty(regularizer, x, target), x, target)


def refuse_nan(regularizer: Any, value: torch.Tensor, x: torch.Tensor, target: str) -> None:
    """PenaltyError when a regularizer made NaN of finite values; NaN of NaN is not the regularizer's fault."""
    if not bool(torch.isnan(value.detach())):
        return
    x = whole(x.detach()) if is_distributed(x) else x.detach()
    if bool(torch.isfinite(x).all()):
        raise PenaltyError(
            f"{target}: the regularizer {_name(regularizer)} must return one real number, got NaN for finite values"
        )


def in_autocast(x: torch.Tensor) -> bool:
    """Whether `torch.autocast` is at work where x is."""
    # The device "meta" has no autocast, and torch refuses the question.
    return not x.is_meta and torch.is_autocast_enabled(x.device.type)


def _without_autocast(regularizer: Any, x: torch.Tensor) -> Any:
    # Outputs in half precision become float32: a regularizer may multiply them with weights of its own.
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    with torch.autocast(x.device.type, enabled=False):
        return regularizer(wide)


def _is_wide(dtype: torch.dtype) -> bool:
    return dtype in (torch.float32, torch.float64)


def _name(regularizer: Any) -> str:
    return str(getattr(regularizer, "__name__", type(regularizer).__name__))


def _not_one_number(regularizer: Any, target: str, got: str) -> PenalizeError:
    return PenaltyError(f"{target}: the regularizer {_name(regularizer)} must return one real number, got {got}")
