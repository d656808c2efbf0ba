"""The weakest strength that makes all penalized weights zero, where it is known: there a default grid ends."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from penalize.binding import Penalties
from penalize.path.data.folds import Folds
from penalize.placement import WeightTarget
from penalize.regularizers import L1, L1L2, GroupLasso
from penalize.regularizers.groups import Groups, lengths
from penalize.regularizers.strength import strength_number

__all__ = ["zeroing_strength"]

# What may stand beside the one linear layer: it neither has weights nor changes values.
SHAPES = (nn.Flatten, nn.Unflatten, nn.Identity, nn.Sequential)


def zeroing_strength(model: nn.Module, penalties: Penalties, data: Folds) -> float | None:
    """The weakest strength of the grid that makes all weights of a linear model zero in every fold; None if unknown.

    With g the gradient of the data's mean loss by the weight where the weight is 0 and the intercept is fitted (or is
    what it stays), a weight of zeros is the solution if, and only if, strength >= D(g), where

    | penalty | D(g) |
    |---|---|
    | `L1(l1)`, `L1L2(l1, l2)` | max(abs(g)) / l1 |
    | `GroupLasso(strength)` | max over groups of length(g in group) / (strength * the group's factor) |

    The result is the largest over folds. It is known for models of one `nn.Linear` whose `weight` alone is penalized,
    and the losses cross-entropy and mean squared error. The latter is mean((y - f)**2), without one half, so for a
    Lasso it is twice the `alpha_max` of scikit-learn: 2 / rows * max(abs(x.T @ (y - mean(y)))).
    """
    layer = _linear_layer(model)
    if layer is None or len(penalties) != 1 or data.x[0, 0].numel() != layer.in_features:
        return None
    (name,) = penalties
    if not _is_weight(penalties[name], layer):
        return None
    regularizer = penalties[name].regularizer
    found = [_dual_norm(regularizer, gradient) for gradient in _gradients_at_zero(layer, data)]
    known = [value for value in found if value is not None and 0 < value < float("inf")]
    return max(known) if len(known) == len(found) else None


def _linear_layer(model: nn.Module) -> nn.Linear | None:
    """The linear layer that the model is, apart from changes of shape."""
    parts = [module for module in model.modules() if type(module) not in SHAPES]
    if len(parts) != 1 or type(parts[0]) is not nn.Linear or not parts[0].weight.requires_grad:
        return None
    return parts[0]


def _is_weight(target: object, layer: nn.Linear) -> bool:
    return isinstance(target, WeightTarget) and target.tensor() is layer.weight


def _gradients_at_zero(layer: nn.Linear, data: Folds) -> list[torch.Tensor]:
    """Of each fold, the gradient (outputs, inputs) of its training rows' mean loss at a weight of zeros."""
    found = []
    for fold, rows in enumerate(data.train):
        x, y = data.x[fold, rows].double().flatten(1), data.y[fold, rows]
        if layer.bias is not None and not layer.bias.requires_grad:
            output = layer.bias.detach().double().expand(len(y), -1)
        elif data.task == "classification":
            # Cross-entropy's intercept: the logarithms of the classes' shares.
            shares = torch.bincount(y, minlength=data.classes).double() / len(y)
            fitted = shares.log() if layer.bias is not None else torch.zeros_like(shares)
            output = fitted.expand(len(y), -1)
        else:
            fitted = y.double().mean() if layer.bias is not None else torch.zeros((), dtype=torch.float64)
            output = fitted.expand(len(y), 1)
        if data.task == "classification":
            slope = (output.softmax(1) - F.one_hot(y, data.classes)) / len(y)
        else:
            slope = 2 * (output - y.double()[:, None]) / len(y)
        found.append(slope.T @ x)
    return found


def _dual_norm(regularizer: object, gradient: torch.Tensor) -> float | None:
    """The strength at which the penalty of a unit strength holds the weight at zero against this gradient."""
    kind = type(regularizer)
    if kind in (L1, L1L2):
        factor = strength_number(regularizer.l1)  # type: ignore[attr-defined]
        largest = gradient.abs().max()
    elif isinstance(regularizer, GroupLasso) and kind is GroupLasso:
        rows = Groups(regularizer.axis, regularizer.groups).rows(gradient, "GroupLasso")
        factor = strength_number(regularizer.strength)
        factor *= rows.shape[1] ** 0.5 if regularizer.scale_reg == "group_size" else 1.0
        largest = lengths(rows).max()
    else:
        return None
    return float(largest) / factor if factor > 0 else None
