"""`compact`: the same outputs from a smaller model."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import torch
from torch import nn

from penalize.compacting.chain import Chain, chain_of
from penalize.compacting.copies import bare_copy, outputs_of, state_shapes
from penalize.compacting.removal import cut, look, remove_units, stretches_of
from penalize.compacting.report import CompactReport, CompactRow
from penalize.errors import ArgumentError, CompactError
from penalize.layers import Layer

__all__ = ["Compacted", "compact"]

TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""The largest difference of an output over the largest output, by the least precise dtype of a model."""

ModelT = TypeVar("ModelT", bound=nn.Module)


class Compacted(NamedTuple, Generic[ModelT]):
    """The smaller model, and what was removed from it."""

    model: ModelT
    report: CompactReport


def compact(model: ModelT, example_input: torch.Tensor) -> Compacted[ModelT]:
    """A smaller model with the same outputs: units that cannot matter are cut out of the weights.

    A unit (output of Linear or Dense, channel of a convolution) goes when the next layer reads it with zeros only, or
    when it is constant, because all of its own weights, or its gamma in a BatchNorm, are zero: what the next layer
    makes of the constant is then folded into the bias of that layer, which gets one if it has none. This is repeated
    until nothing more falls. Before zero padding only a constant of 0 goes, as the border sees zeros. Zeros are exact
    ones, as proximal steps make them. Inputs and outputs of the model stay; so does one unit of each layer, with
    zeros for weights if none is needed. All activations are taken to be finite.

    Parameters
    ----------
    model
        `nn.Sequential` or `penalize.Sequential`, also nested, or one layer: Linear, Conv1d to 3d, BatchNorm1d to 3d,
        elementwise activations, PReLU, poolings, paddings, Flatten, Dropout, and penalize's layers of these kinds;
        softmax and reshaping at the ends. It stays as it is.
    example_input
        A batch that the model takes, of the shape that is used later. On it the outputs of both models are compared.

    Returns
    -------
    Compacted
        `model`, of the same classes, device, dtype, modes and `requires_grad`, parameters under the same names; and
        `report`, which prints as a table. Attached penalties stay with the model that was given:
        `Penalties.from_json(small, penalties.to_json())` puts them on this one. What layers of penalize declare, and
        the settings of `compile`, are kept; optimizers are not, as their parameters are others.

    Raises
    ------
    CompactError
        Before anything is computed, naming the module: one that is no such chain, or whose units cannot be told apart
        (residuals, groups, LayerNorm, recurrence, attention, shared or parametrized weights, forward hooks, unknown
        classes). Afterwards: the outputs differ by more than 1e-5 of the largest one (1e-10 for float64, 1e-2 and
        5e-2 for float16 and bfloat16). ArgumentError for an example that does not fit.

    Notes
    -----
    Both are compared in eval mode and in float64, so that what differs is the rounding of the biases. In training
    mode a BatchNorm takes the batch's statistics, which make another constant of a constant unit: what it gave in
    training is not what is folded. Penalties of activity, and of biases that took a constant, change.

    >>> import torch, penalize
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> with torch.no_grad():
    ...     _ = model[0].weight[1].zero_()  # a constant unit
    ...     _ = model[2].weight[:, 2].zero_()  # one that nobody reads
    >>> small, report = penalize.compact(model, torch.ones(5, 4))
    >>> small
    Sequential(
      (0): Linear(in_features=4, out_features=1, bias=True)
      (1): ReLU()
      (2): Linear(in_features=1, out_features=2, bias=True)
    )
    >>> report.parameters_before, report.parameters_after, report.difference < 1e-6
    (23, 9, True)
    """
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"compact takes an nn.Module, got {type(model).__name__}: {model!r:.80}")
    if not isinstance(example_input, torch.Tensor) or not example_input.numel():
        got = tuple(example_input.shape) if isinstance(example_input, torch.Tensor) else type(example_input).__name__
        raise ArgumentError(f"compact: example_input must be a tensor of at least one sample, got {got}")
    before = chain_of(model)
    expected, shapes = outputs_of(model, example_input)
    if not expected.isfinite().all():
        raise CompactError("compact: the model's own outputs for example_input are not finite, so none can be compared")
    small = bare_copy(model)
    after = chain_of(small)
    stretches = stretches_of(after, shapes)
    look(stretches)
    remove_units(stretches)
    cut(stretches)
    state_shapes(small, example_input)
    outputs, _ = outputs_of(small, example_input)
    difference = _difference(expected, outputs)
    tolerance = TOLERANCES.get(_least_precise(model), 1e-5)
    if not difference <= tolerance:
        raise CompactError(
            f"compact: outputs for example_input differ by {difference:.1e} of the largest one, where {tolerance:.0e} "
            "is expected at most: no model is returned"
        )
    return Compacted(small, CompactReport(_rows(before, after), difference))


def _difference(expected: torch.Tensor, outputs: torch.Tensor) -> float:
    """The largest absolute difference over the largest absolute value, if that is not 0."""
    largest = float(expected.abs().max())
    return float((outputs - expected).abs().max()) / (largest or 1.0)


def _least_precise(model: nn.Module) -> torch.dtype:
    """The floating dtype with the largest rounding among the parameters, and what mixed layers compute in."""
    dtypes = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    layers = [layer for layer in model.modules() if isinstance(layer, Layer)]
    dtypes |= {layer.compute_dtype for layer in layers if layer.dtype_policy.mixed}
    return max(dtypes, key=lambda dtype: torch.finfo(dtype).eps, default=torch.float32)


def _rows(before: Chain, after: Chain) -> tuple[CompactRow, ...]:
    rows = []
    for old, new in zip(before.links, after.links, strict=True):
        counts = [sum(p.numel() for p in link.module.parameters()) for link in (old, new)]
        if counts[0]:
            kind = type(old.module).__name__
            units = [link.parts[0].units() if link.parts else None for link in (old, new)]
            rows.append(CompactRow(old.path, kind, units[0], units[1], counts[0], counts[1]))
    return tuple(rows)
