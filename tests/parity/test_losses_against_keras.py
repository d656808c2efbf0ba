"""Every loss against Keras's of the same arguments: values, gradients, weights, reductions, shapes."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import pytest
import torch

import penalize.losses
from penalize.registry import built_ins

# Keras itself sets this off on NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

REDUCTIONS = ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None]


def numbers(generator, shape):
    return generator.normal(size=shape), generator.normal(size=shape) * 3


def positive(generator, shape):
    return generator.uniform(0.1, 3, shape), generator.uniform(0.01, 3, shape)


def binary(generator, shape):
    predicted = generator.uniform(0, 1, shape)
    predicted.reshape(-1)[:3] = [0.0, 1.0, 1e-9]
    return generator.integers(0, 2, shape).astype(float), predicted


def binary_logits(generator, shape):
    return generator.integers(0, 2, shape).astype(float), generator.normal(size=shape) * 10


def one_hot(generator, shape):
    predicted = generator.uniform(0, 1, shape)
    predicted.reshape(-1)[0] = 0.0
    return np.eye(shape[-1])[generator.integers(0, shape[-1], shape[:-1])], predicted


def one_hot_logits(generator, shape):
    return one_hot(generator, shape)[0], generator.normal(size=shape) * 5


def labels(generator, shape):
    return generator.integers(0, shape[-1], shape[:-1]), generator.uniform(0, 1, shape)


def label_logits(generator, shape):
    return generator.integers(0, shape[-1], shape[:-1]), generator.normal(size=shape) * 5


CASES = [
    ("MeanSquaredError", {}, numbers),
    ("MeanAbsoluteError", {}, numbers),
    ("MeanAbsolutePercentageError", {}, numbers),
    ("MeanSquaredLogarithmicError", {}, numbers),
    ("Huber", {}, numbers),
    ("Huber", {"delta": 2.5}, numbers),
    ("LogCosh", {}, numbers),
    ("CosineSimilarity", {}, numbers),
    ("Hinge", {}, binary_logits),
    ("Hinge", {}, numbers),
    ("SquaredHinge", {}, binary_logits),
    ("CategoricalHinge", {}, one_hot_logits),
    ("KLDivergence", {}, binary),
    ("Poisson", {}, positive),
    ("BinaryCrossentropy", {}, binary),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, binary_logits),
    ("BinaryFocalCrossentropy", {}, binary),
    ("BinaryFocalCrossentropy", {"apply_class_balancing": True, "alpha": 0.4, "gamma": 3.0}, binary),
    ("BinaryFocalCrossentropy", {"from_logits": True, "label_smoothing": 0.2}, binary_logits),
    ("CategoricalCrossentropy", {}, one_hot),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, one_hot_logits),
    ("CategoricalFocalCrossentropy", {}, one_hot),
    ("CategoricalFocalCrossentropy", {"from_logits": True, "label_smoothing": 0.1, "alpha": 0.6}, one_hot_logits),
    ("SparseCategoricalCrossentropy", {}, labels),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, label_logits),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1}, labels),
    ("SparseCategoricalCrossentropy", {"from_logits": True, "ignore_class": 0}, label_logits),
    ("CategoricalGeneralizedCrossEntropy", {"q": 0.7}, labels),
]
# Keras cannot read the config of its own CategoricalGeneralizedCrossEntropy.
CLASSES = [
    entry
    for entry in built_ins("loss")
    if isinstance(entry.factory, type) and entry.class_name != "CategoricalGeneralizedCrossEntropy"
]
WHOLE = [
    ("Dice", {}, binary),
    ("Tversky", {"alpha": 0.3, "beta": 0.8}, binary),
]


def both(name, arguments, make, shape, dtype="float32", weight_shape=None):
    """The value and the gradient of ours and Keras's, in that order."""
    generator = np.random.default_rng(0)
    y_true, y_pred = make(generator, shape)
    weight = None if weight_shape is None else generator.uniform(0, 2, weight_shape).astype("float32")
    results = []
    for module in (penalize.losses, keras.losses):
        predicted = torch.tensor(y_pred, dtype=getattr(torch, dtype), requires_grad=True)
        loss = getattr(module, name)(**arguments)
        value = loss(torch.tensor(y_true), predicted, sample_weight=weight)
        value.sum().backward()
        results.append((value.detach(), predicted.grad))
    return results


def assert_equal(results, rtol=2e-5):
    (value, gradient), (their_value, their_gradient) = results
    if their_value.ndim > gradient.ndim - 1 and their_value.shape[-1] == 1:
        their_value = their_value.squeeze(-1)  # Keras gives values the last axis of a (batch, 1) weight
    assert value.shape == their_value.shape
    torch.testing.assert_close(value, their_value.to(value.dtype), rtol=rtol, atol=1e-6)
    torch.testing.assert_close(gradient, their_gradient.to(gradient.dtype), rtol=rtol * 10, atol=1e-5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("name", "arguments", "make"), CASES)
def test_values_and_gradients_are_keras_s(name, arguments, make, reduction):
    settings = {**arguments, "reduction": reduction}
    assert_equal(both(name, settings, make, (6, 4)))
    assert_equal(both(name, settings, make, (6, 4), weight_shape=(6,)))
    assert_equal(both(name, settings, make, (6, 4), weight_shape=(6, 1)))


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight", "none"])
@pytest.mark.parametrize(("name", "arguments", "make"), CASES)
def test_timesteps_and_their_weights_are_keras_s(name, arguments, make, reduction):
    settings = {**arguments, "reduction": reduction}
    # Keras fails on weights that it would have to broadcast against a mask.
    for weight_shape in (None, (5, 3)) if "ignore_class" in arguments else (None, (5, 3), (5, 1), ()):
        assert_equal(both(name, settings, make, (5, 3, 4), weight_shape=weight_shape))


@pytest.mark.parametrize(("name", "arguments", "make"), WHOLE)
def test_losses_of_whole_masks_are_keras_s(name, arguments, make):
    assert_equal(both(name, arguments, make, (4, 5)))
    assert_equal(both(name, {**arguments, "axis": (1, 2), "reduction": None}, make, (4, 5, 2), weight_shape=(4,)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize(("name", "arguments", "make"), CASES)
def test_other_dtypes(name, arguments, make, dtype):
    """Half precision is computed in float32, as Keras's classes do; float64 stays, where Keras goes down to float32."""
    results = both(name, arguments, make, (6, 4), dtype)
    assert results[0][0].dtype == (torch.float64 if dtype == "float64" else torch.float32)
    (value, _), (their_value, _) = results
    torch.testing.assert_close(value.float(), their_value.float(), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "arguments", "make"), [case for case in CASES if not case[1].get("ignore_class")])
def test_functions_are_keras_s(name, arguments, make):
    function = {"KLDivergence": "kl_divergence"}.get(name, getattr(penalize.losses, name)(**arguments).name)
    function = {"huber_loss": "huber"}.get(function, function)
    y_true, y_pred = (torch.tensor(each) for each in make(np.random.default_rng(1), (5, 3)))
    theirs = getattr(keras.losses, function)(y_true, y_pred.float(), **arguments)
    ours = getattr(penalize.losses, function)(y_true, y_pred.float(), **arguments)
    torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("true_shape", "predicted_shape"),
    [((3,), (3, 1)), ((3, 1), (3,)), ((3, 4), (3, 4, 1)), ((3, 4, 1), (3, 4)), ((3,), (3,))],
)
def test_shapes_are_reconciled_as_in_keras(true_shape, predicted_shape):
    generator = np.random.default_rng(2)
    y_true, y_pred = generator.normal(size=true_shape), generator.normal(size=predicted_shape)
    ours = penalize.losses.MeanSquaredError(reduction="none")(y_true, y_pred)
    theirs = keras.losses.MeanSquaredError(reduction="none")(y_true, y_pred)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours.float(), theirs)


def test_a_cosine_along_another_axis_and_of_zero_vectors():
    assert_equal(both("CosineSimilarity", {"axis": 1, "reduction": "none"}, numbers, (4, 3, 2)))
    assert penalize.losses.cosine_similarity(np.zeros((2, 3)), np.ones((2, 3))).tolist() == [0.0, 0.0]


def test_a_custom_loss_gives_keras_s_numbers():
    def make(base):
        class Cubes(base):
            def call(self, y_true, y_pred):
                return (abs(y_true - y_pred) ** 3).mean(-1)

        return Cubes()

    y_true, y_pred, weight = np.arange(3.0)[:, None], np.array([[0.5], [2.0], [0.0]]), np.array([1.0, 2.0, 0.5])
    ours = make(penalize.losses.Loss)(y_true, y_pred, sample_weight=weight)
    torch.testing.assert_close(ours.float(), make(keras.losses.Loss)(y_true, y_pred, sample_weight=weight))


def test_every_name_that_keras_has_is_known():
    for name in dir(keras.losses):
        left_out = name.startswith("_") or name.lower() in ("ctc", "circle")
        assert left_out or hasattr(penalize.losses, name), name
    for name in ("mse", "MSE", "mae", "MAE", "mape", "MAPE", "msle", "MSLE", "kld", "KLD", "bce", "BCE"):
        theirs = keras.losses.get(name).__name__
        assert penalize.losses.get(name).name == theirs


@pytest.mark.parametrize("entry", CLASSES, ids=lambda entry: entry.class_name)
def test_configs_are_read_by_each_other(entry):
    ours = penalize.losses.serialize(entry.factory(reduction="sum"))
    theirs = keras.losses.deserialize(ours)
    assert theirs.reduction == "sum"
    back = penalize.losses.deserialize(keras.losses.serialize(theirs))
    assert back.get_config() == penalize.losses.deserialize(ours).get_config()
