"""The metrics against Keras's: over batches, with weights, after a reset; names in logs as in Keras's."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import pytest
import torch

from penalize import metrics

# Keras itself sets this off on NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def numbers(generator, shape):
    return generator.normal(size=shape), generator.normal(size=shape)


def positive(generator, shape):
    return generator.uniform(0.1, 3, shape), generator.uniform(0.1, 3, shape)


def binary(generator, shape):
    return generator.integers(0, 2, shape).astype(float), generator.uniform(0, 1, shape)


def binary_logits(generator, shape):
    return generator.integers(0, 2, shape).astype(float), generator.normal(size=shape) * 3


def one_hot(generator, shape):
    return np.eye(shape[-1])[generator.integers(0, shape[-1], shape[:-1])], generator.uniform(0, 1, shape)


def labels(generator, shape):
    return generator.integers(0, shape[-1], shape[:-1]), generator.uniform(0, 1, shape)


WEIGHED = [
    ("MeanSquaredError", {}, numbers),
    ("MeanAbsoluteError", {}, numbers),
    ("MeanAbsolutePercentageError", {}, numbers),
    ("MeanSquaredLogarithmicError", {}, positive),
    ("RootMeanSquaredError", {}, numbers),
    ("LogCoshError", {}, numbers),
    ("CosineSimilarity", {}, numbers),
    ("KLDivergence", {}, binary),
    ("Poisson", {}, positive),
    ("Hinge", {}, binary_logits),
    ("SquaredHinge", {}, binary_logits),
    ("CategoricalHinge", {}, one_hot),
    ("BinaryCrossentropy", {}, binary),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, binary_logits),
    ("CategoricalCrossentropy", {}, one_hot),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, one_hot),
    ("SparseCategoricalCrossentropy", {}, labels),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, labels),
    ("BinaryAccuracy", {}, binary),
    ("BinaryAccuracy", {"threshold": 0.2}, binary),
    ("BinaryAccuracy", {}, binary_logits),
    ("CategoricalAccuracy", {}, one_hot),
    ("SparseCategoricalAccuracy", {}, labels),
    ("TopKCategoricalAccuracy", {"k": 2}, one_hot),
    ("SparseTopKCategoricalAccuracy", {"k": 2}, labels),
    ("Accuracy", {}, binary),
]
COUNTED = [
    ("Precision", {}, binary),
    ("Precision", {"thresholds": 0.8}, binary),
    ("Recall", {}, binary),
    ("Recall", {"thresholds": 0.8}, binary),
    ("AUC", {}, binary),
    ("AUC", {"num_thresholds": 20}, binary),
    ("AUC", {"from_logits": True}, binary_logits),
    ("F1Score", {}, one_hot),
    ("F1Score", {"average": "macro"}, one_hot),
    ("F1Score", {"average": "micro", "threshold": 0.5}, binary),
    ("F1Score", {"average": "weighted"}, one_hot),
    ("FBetaScore", {"beta": 2.0, "average": "weighted", "threshold": 0.3}, binary),
    ("R2Score", {}, numbers),
    ("R2Score", {"class_aggregation": "variance_weighted_average"}, numbers),
    ("R2Score", {"class_aggregation": None}, numbers),
]


def gathered(name, arguments, make, shape, weight_shape=None, batches=3):
    """Our and Keras's metric after several batches of unequal sizes."""
    generator = np.random.default_rng(0)
    ours, theirs = getattr(metrics, name)(**arguments), getattr(keras.metrics, name)(**arguments)
    for batch in range(batches):
        y_true, y_pred = make(generator, (shape[0] + batch, *shape[1:]))
        y_pred = y_pred.astype("float32")
        weight = None if weight_shape is None else generator.uniform(0, 2, (shape[0] + batch, *weight_shape[1:]))
        arguments = {} if weight is None else {"sample_weight": weight.astype("float32")}
        ours.update(y_true, torch.tensor(y_pred), **arguments)
        theirs.update_state(y_true, y_pred, **arguments)
    return ours, theirs


def assert_equal(ours, theirs):
    expected = torch.as_tensor(theirs.result())
    assert ours.compute().shape == expected.shape
    torch.testing.assert_close(ours.compute().float(), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "arguments", "make"), WEIGHED)
def test_means_are_keras_s(name, arguments, make):
    for shape, weight_shape in [((6, 4), None), ((6, 4), (6,)), ((5, 3, 4), None), ((5, 3, 4), (5, 3))]:
        if name == "Accuracy" and weight_shape is not None and len(weight_shape) + 1 == len(shape):
            weight_shape = shape  # its values are elements, so that Keras wants a weight for each
        assert_equal(*gathered(name, arguments, make, shape, weight_shape))


@pytest.mark.parametrize(("name", "arguments", "make"), COUNTED)
def test_counts_are_keras_s(name, arguments, make):
    assert_equal(*gathered(name, arguments, make, (30, 3)))
    assert_equal(*gathered(name, arguments, make, (30, 1)))


@pytest.mark.parametrize(("name", "arguments", "make"), WEIGHED + COUNTED)
def test_a_reset_forgets(name, arguments, make):
    ours, theirs = gathered(name, arguments, make, (30, 3))
    ours.reset()
    theirs.reset_state()
    for y_true, y_pred in [make(np.random.default_rng(5), (20, 3))]:
        ours.update(y_true, y_pred.astype("float32"))
        theirs.update_state(y_true, y_pred.astype("float32"))
    assert_equal(ours, theirs)


@pytest.mark.parametrize(("name", "arguments", "make"), WEIGHED + COUNTED)
def test_the_default_names_are_keras_s(name, arguments, make):
    """But for the numbers that Keras appends to the names of objects of one class."""
    assert getattr(metrics, name)().name == getattr(keras.metrics, name)().name.rstrip("_0123456789")


def batches(kind):
    generator = np.random.default_rng(1)
    classes = np.array([0, 3, 1, 2, 1, 0])
    if kind == "binary":
        return np.array([0.0, 1, 1, 0, 1, 0])[:, None], generator.uniform(size=(6, 1))
    if kind == "flat targets":
        return np.array([0.0, 1, 1, 0, 1, 0]), generator.uniform(size=(6, 1))
    if kind == "one-hot":
        return np.eye(4)[classes], generator.uniform(size=(6, 4))
    return classes if kind == "sparse" else classes[:, None], generator.uniform(size=(6, 4))


@pytest.mark.parametrize("kind", ["binary", "flat targets", "one-hot", "sparse", "sparse column"])
@pytest.mark.parametrize("name", ["accuracy", "acc", "Accuracy"])
def test_accuracy_is_what_keras_s_compile_chooses(name, kind):
    y_true, y_pred = batches(kind)
    model = keras.Sequential([keras.layers.Input((y_pred.shape[1],)), keras.layers.Activation("linear")])
    model.compile(loss="mse" if kind in ("binary", "flat targets", "one-hot") else None, metrics=[name])
    if kind.startswith("sparse"):
        model.compile(loss="sparse_categorical_crossentropy", metrics=[name])
    theirs = model.evaluate(y_pred, y_true, return_dict=True, verbose=0)
    ours = metrics.get(name)
    ours.update(y_true, y_pred.astype("float32"))
    assert theirs[ours.name] == pytest.approx(ours.compute().item())


@pytest.mark.parametrize("name", ["mse", "MSE", "mae", "mean_squared_error", "MeanSquaredError", "bce", "auc", "AUC"])
def test_the_logs_carry_the_name_that_was_given(name):
    y_true, y_pred = batches("binary")
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Activation("linear")])
    model.compile(loss="mse", metrics=[name])
    theirs = model.evaluate(y_pred, y_true, return_dict=True, verbose=0)
    ours = metrics.get(name)
    ours.update(y_true, y_pred.astype("float32"))
    assert theirs[ours.name] == pytest.approx(ours.compute().item(), rel=1e-5)
