"""Losses of probabilities whose logits are known: exact, and with a gradient, however sure the model is of its error."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import penalize
from penalize import layers, losses
from penalize.logits import logits_of

SURE = torch.tensor([[0.0, 40.0], [0.0, 2.0]], dtype=torch.float64)
INDICES = torch.tensor([0, 0])
ONE_HOT = torch.tensor([[1.0, 0.0], [1.0, 0.0]])


def log_softmax(x):
    shifted = x - x.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


# By the definition, in NumPy: minus the logarithm of the probability of the first class; of a 0 for each sigmoid.
CLASSES_EXPECTED = -log_softmax(SURE.numpy())[:, 0]
BINARY_EXPECTED = np.log1p(np.exp(SURE.numpy())).mean(-1)
CASES = [
    (layers.Activation("softmax"), losses.sparse_categorical_crossentropy, INDICES, CLASSES_EXPECTED),
    (layers.Softmax(), losses.sparse_categorical_crossentropy, INDICES, CLASSES_EXPECTED),
    (layers.Softmax(axis=1), losses.categorical_crossentropy, ONE_HOT, CLASSES_EXPECTED),
    (layers.Activation("sigmoid"), losses.binary_crossentropy, torch.zeros(2, 2), BINARY_EXPECTED),
]


@pytest.mark.parametrize(("layer", "loss", "target", "expected"), CASES)
def test_losses_are_exact_far_below_the_smallest_probability(layer, loss, target, expected):
    logits = SURE.clone().requires_grad_()
    probabilities = layer(logits)
    found = loss(target, probabilities)
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-12)
    found.sum().backward()
    assert logits.grad[0].abs().max() > 0.4
    # What was computed from probabilities alone ends at -log(1e-7), and has no gradient there.
    assert loss(target, probabilities.detach())[0] < expected[0] - 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["sparse_categorical_crossentropy", "categorical_crossentropy"])
def test_half_precision_is_exact_too(dtype, name):
    logits = SURE.to(dtype)
    target = INDICES if name.startswith("sparse") else ONE_HOT
    found = losses.get(name)(target, layers.Activation("softmax", dtype=dtype)(logits))
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(CLASSES_EXPECTED.mean(), rel=1e-3)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Dense(2, "softmax"),
        layers.EinsumDense("bi,io->bo", 2, activation="softmax"),
        layers.Activation("softmax"),
        penalize.Sequential([layers.Dense(2), layers.Softmax()]),
    ],
)
def test_layers_and_models_hand_them_to_the_loss(layer):
    probabilities = layer(torch.randn(3, 2))
    logits = logits_of(probabilities, -1)
    torch.testing.assert_close(torch.softmax(logits, -1), probabilities)
    assert logits_of(layers.Conv2D(1, 1, activation="sigmoid")(torch.randn(1, 2, 2, 3)), None).shape == (1, 2, 2, 1)


def test_probabilities_of_another_axis_or_kind_are_taken_as_they_are():
    probabilities = layers.Softmax(axis=0)(SURE)
    assert logits_of(probabilities, -1) is None
    assert logits_of(probabilities, None) is None
    assert losses.binary_crossentropy(torch.zeros(2, 2), probabilities).max() < 17


@pytest.mark.parametrize("change", [lambda p: p.mul_(0.5), lambda p: p[0].mul_(0.5), lambda p: p.copy_(ONE_HOT)])
def test_probabilities_that_were_changed_in_place_are_taken_as_they_are(change):
    probabilities = layers.Softmax()(SURE)
    change(probabilities)
    assert logits_of(probabilities, -1) is None
    expected = losses.categorical_crossentropy(ONE_HOT, probabilities.clone())
    torch.testing.assert_close(losses.categorical_crossentropy(ONE_HOT, probabilities), expected)


def test_what_is_made_of_probabilities_carries_nothing():
    probabilities = layers.Softmax()(SURE.clone().requires_grad_())
    for other in (probabilities.detach(), probabilities.clone(), probabilities * 1, probabilities[:1]):
        assert logits_of(other, -1) is None
    assert logits_of(copy.deepcopy(layers.Softmax()(SURE)), 0) is None


def test_training_and_evaluation_agree_and_predictions_hold_no_logits():
    model = penalize.Sequential([penalize.Input((2,)), layers.Activation("softmax"), layers.Activation("linear")])
    model.pop()
    model.compile(loss="sparse_categorical_crossentropy")
    with pytest.warns(UserWarning, match="no trainable weights"):
        trained = model.fit(SURE.float(), INDICES, verbose=0).history["loss"][0]
    assert trained == pytest.approx(CLASSES_EXPECTED.mean(), rel=1e-6)
    assert model.evaluate(SURE.float(), INDICES, verbose=0) == pytest.approx(trained, rel=1e-6)
    kept = []
    model.register_forward_hook(lambda module, args, output: kept.append(output))
    model.predict(SURE.float(), verbose=0)
    assert [logits_of(output, -1) for output in kept] == [None]


def test_a_saturated_model_still_learns():
    model = penalize.Sequential([penalize.Input((1,)), layers.Dense(2, "softmax")])
    with torch.no_grad():
        model.layers[0].bias.copy_(torch.tensor([0.0, 40.0]))
    model.compile(optimizer=penalize.optimizers.SGD(1.0), loss="sparse_categorical_crossentropy")
    before = model.layers[0].bias.detach().clone()
    model.fit(np.ones((1, 1)), np.zeros(1), epochs=1, verbose=0)
    torch.testing.assert_close(model.layers[0].bias.detach() - before, torch.tensor([1.0, -1.0]))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_labels_stand_where_the_axis_of_classes_was(axis):
    logits = torch.randn(3, 4, 5, dtype=torch.float64)
    shape = [size for place, size in enumerate(logits.shape) if place != axis % 3]
    labels = torch.randint(0, 3, shape)
    found = losses.sparse_categorical_crossentropy(labels, layers.Softmax(axis=axis)(logits), axis=axis)
    expected = -torch.log_softmax(logits, axis).gather(axis, labels.unsqueeze(axis)).squeeze(axis)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("label", [3, -1, -100, torch.iinfo(torch.int64).max, float("nan")])
def test_labels_that_are_no_classes_are_refused(label):
    labels = torch.tensor([0, label])
    with pytest.raises(penalize.errors.ArgumentError, match="must hold class indices from 0 to 2, got values from"):
        losses.sparse_categorical_crossentropy(labels, torch.randn(2, 3), from_logits=True)


def test_a_compiled_model_gives_the_same_loss_where_nothing_is_clipped():
    model = penalize.Sequential([penalize.Input((3,)), layers.Dense(4, "softmax")])
    x, y = torch.randn(5, 3), torch.randint(0, 4, (5,))
    plain = losses.sparse_categorical_crossentropy(y, model(x))
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(losses.sparse_categorical_crossentropy(y, compiled(x)), plain)


def test_inference_mode_and_modules_of_torch_are_no_trouble():
    with torch.inference_mode():
        found = losses.sparse_categorical_crossentropy(INDICES, layers.Softmax()(SURE))
    np.testing.assert_allclose(found, CLASSES_EXPECTED, rtol=1e-12)
    assert logits_of(nn.Softmax(-1)(SURE), -1) is None
