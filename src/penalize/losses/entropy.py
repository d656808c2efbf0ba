"""Losses of probabilities: the cross-entropies, the Kullback-Leibler divergence and Poisson's likelihood."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from penalize.errors import ArgumentError, ShapeError
from penalize.logits import logits_of
from penalize.losses.arrays import EPSILON, float_pair, in_dtype, to_tensor, wide_dtype
from penalize.losses.base import DEFAULT_REDUCTION, FunctionLoss
from penalize.registry import built_in

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalGeneralizedCrossEntropy",
    "KLDivergence",
    "Poisson",
    "SparseCategoricalCrossentropy",
    "binary_crossentropy",
    "categorical_crossentropy",
    "categorical_generalized_cross_entropy",
    "kl_divergence",
    "poisson",
    "sparse_categorical_crossentropy",
]

MODULE = "keras.losses"
# What torch is told to ignore: nothing that NaN or a number of classes turns into.
NO_LABEL = torch.iinfo(torch.int64).min + 1


def check_smoothing(label_smoothing: float) -> float:
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(f"label_smoothing must be a number between 0 and 1, got {label_smoothing!r}")
    return label_smoothing


def clip_probabilities(probabilities: torch.Tensor) -> torch.Tensor:
    return probabilities.clamp(EPSILON, 1.0 - EPSILON)


def normalize(probabilities: torch.Tensor, axis: int) -> torch.Tensor:
    """Probabilities that sum to 1 along `axis`, none nearer to 0 or 1 than 1e-7."""
    return clip_probabilities(probabilities / probabilities.sum(axis, keepdim=True))


@built_in("loss", module=MODULE, names=["bce", "BCE"])
def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> torch.Tensor:
    """`mean(-y log(p) - (1 - y) log(1 - p))` over `axis`.

    p is y_pred, clipped to [1e-7, 1 - 1e-7], or with `from_logits` its sigmoid; y is y_true, moved towards 0.5 by the
    share `label_smoothing`. Of the output of a layer that ends in a sigmoid, p is that sigmoid, not clipped.

    >>> binary_crossentropy([[0.0, 1.0]], [[0.5, 0.5]])
    tensor([0.6931])
    """
    y_pred, from_logits = _logits_if_known(y_pred, from_logits, None)
    target, predicted = float_pair(y_true, y_pred, "binary_crossentropy")
    target = target * (1.0 - check_smoothing(label_smoothing)) + 0.5 * label_smoothing
    if from_logits:
        # Infinite logits, as of units that are masked, would give 0 * inf.
        finite = predicted.clamp(-torch.finfo(predicted.dtype).max, torch.finfo(predicted.dtype).max)
        values = functional.binary_cross_entropy_with_logits(finite, target, reduction="none")
    else:
        p = clip_probabilities(predicted)
        values = -(target * p.log() + (1.0 - target) * torch.log1p(-p))
    return values.mean(axis)


@built_in("loss", module=MODULE)
def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> torch.Tensor:
    """`-sum(y log(p))` over `axis`, the classes.

    p is y_pred, divided by its sum and clipped to [1e-7, 1 - 1e-7], or with `from_logits` its softmax; y is y_true,
    moved towards equal probabilities by the share `label_smoothing`. Of the output of a layer that ends in a softmax
    along `axis`, p is that softmax, not clipped: it is exact, and has a gradient, however small it is.
    """
    y_pred, from_logits = _logits_if_known(y_pred, from_logits, axis)
    target, predicted = float_pair(y_true, y_pred, "categorical_crossentropy")
    target = target * (1.0 - check_smoothing(label_smoothing)) + label_smoothing / predicted.shape[axis]
    log_p = functional.log_softmax(predicted, axis) if from_logits else normalize(predicted, axis).log()
    # 0 * log(0) is 0: of classes whose logit is -inf, as masked ones have it.
    return -torch.where(target == 0, 0.0, target * log_p).sum(axis)


@built_in("loss", module=MODULE)
def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> torch.Tensor:
    """`-log(p[y_true])` along `axis`, the classes: `categorical_crossentropy` with the index of the class as y_true.

    Of the output of a layer that ends in a softmax along `axis`, p is that softmax, not clipped.

    Where y_true is `ignore_class`, the value is 0.

    Raises `ShapeError` unless y_true has y_pred's shape without `axis`, and `ArgumentError` for an index that is no
    class.

    >>> sparse_categorical_crossentropy([1], [[0.5, 0.5]])
    tensor([0.6931])
    """
    y_pred, from_logits = _logits_if_known(y_pred, from_logits, axis)
    labels, predicted = label_pair(y_true, y_pred, axis)
    predicted = in_dtype(predicted, wide_dtype(predicted))
    if ignore_class is None:
        return _minus_log_of_label(labels, predicted, from_logits, axis)
    kept = labels != ignore_class
    values = _minus_log_of_label(torch.where(kept, labels, 0), predicted, from_logits, axis)
    return torch.where(kept, values, 0.0)


def _logits_if_known(y_pred: Any, from_logits: bool, axis: int | None) -> tuple[Any, bool]:
    """The predictions and whether they are logits; of probabilities that carry their logits, those."""
    logits = None if from_logits else logits_of(y_pred, axis)
    if logits is None:
        return y_pred, from_logits
    # A loss that computes in a wider dtype than the model has its predictions in that already.
    return logits.to(torch.promote_types(logits.dtype, y_pred.dtype)), True


def _minus_log_of_label(labels: torch.Tensor, predicted: torch.Tensor, from_logits: bool, axis: int) -> torch.Tensor:
    """Minus the logarithm of the probability of each label."""
    if from_logits:
        log_p = functional.log_softmax(predicted, axis)
        place = min(1, log_p.ndim - 1)  # where torch has the classes
        if axis % log_p.ndim != place:
            log_p = log_p.movedim(axis, place)
        try:
            # Every label counts: torch's own mark for those that do not is an error here.
            return functional.nll_loss(log_p, labels, reduction="none", ignore_index=NO_LABEL)
        except IndexError as error:
            raise _label_error(labels, predicted.shape[axis]) from error
    # Of the label's alone, instead of all: the others do not count.
    return -clip_probabilities(gather(predicted, labels, axis) / predicted.sum(axis)).log()


def gather(values: torch.Tensor, labels: torch.Tensor, axis: int) -> torch.Tensor:
    """`values[..., label, ...]` for the label of each place; what is no index is an error by name on the CPU."""
    try:
        return values.gather(axis, labels.unsqueeze(axis)).squeeze(axis)
    except RuntimeError as error:
        if "out of bounds" not in str(error):
            raise
        raise _label_error(labels, values.shape[axis]) from error


def _label_error(labels: torch.Tensor, classes: int) -> ArgumentError:
    return ArgumentError(
        f"y_true must hold class indices from 0 to {classes - 1}, "
        f"got values from {int(labels.min())} to {int(labels.max())}"
    )


def label_pair(y_true: Any, y_pred: Any, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Class indices, long, of y_pred's shape without `axis`, and the predictions."""
    predicted = to_tensor(y_pred)
    labels = to_tensor(y_true, predicted.device)
    if labels.ndim == predicted.ndim and labels.shape[-1:] == (1,):
        labels = labels.squeeze(-1)
    expected = list(predicted.shape)
    if expected:
        del expected[axis]
    if predicted.ndim == 0 or list(labels.shape) != expected:
        raise ShapeError(
            "sparse_categorical_crossentropy: y_true must have the shape of y_pred without its axis of classes, "
            f"got y_true {tuple(labels.shape)} and y_pred {tuple(predicted.shape)}"
        )
    return labels.long(), predicted


@built_in("loss", module=MODULE)
def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float) -> torch.Tensor:
    """`(1 - p[y_true]**q) / q`, y_true the index of the class on the last axis; noise-robust.

    Source: Keras 3.15.1; Zhang and Sabuncu, 2018.
    """
    labels, predicted = label_pair(y_true, y_pred, -1)
    predicted = predicted.to(wide_dtype(predicted))
    p = gather(clip_probabilities(predicted), labels, -1)
    return (1.0 - p**q) / q


@built_in("loss", module=MODULE, names=["kld", "KLD"])
def kl_divergence(y_true: Any, y_pred: Any) -> torch.Tensor:
    """`sum(y_true log(y_true / y_pred))` over the last axis, both clipped to [1e-7, 1]."""
    target, predicted = (values.clamp(EPSILON, 1.0) for values in float_pair(y_true, y_pred, "kl_divergence"))
    return (target * (target / predicted).log()).sum(-1)


@built_in("loss", module=MODULE)
def poisson(y_true: Any, y_pred: Any) -> torch.Tensor:
    """`mean(y_pred - y_true log(y_pred + 1e-7))` over the last axis."""
    target, predicted = float_pair(y_true, y_pred, "poisson")
    return (predicted - target * (predicted + EPSILON).log()).mean(-1)


@built_in("loss", module=MODULE)
class BinaryCrossentropy(FunctionLoss):
    """`binary_crossentropy` with Keras's arguments.

    >>> BinaryCrossentropy(from_logits=True)([[1.0]], [[0.0]])
    tensor(0.6931)
    """

    function = staticmethod(binary_crossentropy)

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = DEFAULT_REDUCTION,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        smoothing = check_smoothing(label_smoothing)
        super().__init__(reduction, name, dtype, from_logits=from_logits, label_smoothing=smoothing, axis=axis)


@built_in("loss", module=MODULE)
class CategoricalCrossentropy(FunctionLoss):
    """`categorical_crossentropy` with Keras's arguments: targets are one-hot, or probabilities."""

    function = staticmethod(categorical_crossentropy)

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = DEFAULT_REDUCTION,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        smoothing = check_smoothing(label_smoothing)
        super().__init__(reduction, name, dtype, from_logits=from_logits, label_smoothing=smoothing, axis=axis)


class LabelLoss(FunctionLoss):
    """A loss whose targets are indices of classes, which stay integers."""

    def inputs(self, y_true: Any, y_pred: Any) -> tuple[torch.Tensor, torch.Tensor]:
        labels, predicted = label_pair(y_true, y_pred, self.arguments.get("axis", -1))
        return labels, in_dtype(predicted, self.dtype or wide_dtype(predicted))


@built_in("loss", module=MODULE)
class SparseCategoricalCrossentropy(LabelLoss):
    """`sparse_categorical_crossentropy` with Keras's arguments; samples of `ignore_class` do not count in the mean."""

    function = staticmethod(sparse_categorical_crossentropy)

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = DEFAULT_REDUCTION,
        axis: int = -1,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype, from_logits=from_logits, ignore_class=ignore_class, axis=axis)

    def mask(self, y_true: torch.Tensor) -> torch.Tensor | None:
        ignored = self.arguments["ignore_class"]
        return None if ignored is None else y_true != ignored


@built_in("loss", module=MODULE)
class CategoricalGeneralizedCrossEntropy(LabelLoss):
    """`categorical_generalized_cross_entropy` with `q` 0.5 by default, in (0, 1)."""

    function = staticmethod(categorical_generalized_cross_entropy)

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = DEFAULT_REDUCTION,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        if not 0 < q < 1:
            raise ArgumentError(f"q must be a number between 0 and 1, got {q!r}")
        super().__init__(reduction, name, dtype, q=q)


@built_in("loss", module=MODULE)
class KLDivergence(FunctionLoss):
    """`sum(y_true log(y_true / y_pred))`."""

    function = staticmethod(kl_divergence)


@built_in("loss", module=MODULE)
class Poisson(FunctionLoss):
    """`mean(y_pred - y_true log(y_pred))`: the negative log-likelihood of counts, but for a constant."""

    function = staticmethod(poisson)
