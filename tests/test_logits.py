"""Losses of probabilities whose logits are known: exact, and with a gradient, however sure the model is of its error."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

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


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("layer", [layers.Softmax(), layers.Activation("sigmoid")])
def test_changes_in_place_after_the_layer_are_seen_also_in_inference_mode(mode, layer):
    loss = losses.binary_crossentropy if isinstance(layer, layers.Activation) else losses.categorical_crossentropy
    with mode():
        for change in (lambda logits, p: logits.zero_(), lambda logits, p: p.copy_(ONE_HOT)):
            logits = SURE.clone()
            probabilities = layer(logits)
            change(logits, probabilities)
            torch.testing.assert_close(loss(ONE_HOT, probabilities), loss(ONE_HOT, probabilities.clone()))


def test_a_vmap_in_inference_mode_takes_the_probabilities():
    logits = torch.randn(4, 3, 2)
    with torch.inference_mode():
        found = torch.vmap(lambda x: losses.categorical_crossentropy(torch.ones(3, 2), layers.Softmax()(x)))(logits)
    torch.testing.assert_close(found, -torch.log_softmax(logits, -1).sum(-1))


@pytest.mark.parametrize("reentrant", [True, False])
def test_the_gradient_passes_a_checkpoint(reentrant):
    layer = layers.Dense(2, "softmax")
    x, gradients = torch.randn(3, 4, requires_grad=True), []
    for probabilities in (layer(x), checkpoint(layer, x, use_reentrant=reentrant)):
        losses.sparse_categorical_crossentropy(torch.tensor([0, 1, 1]), probabilities).sum().backward()
        gradients.append(layer.weight.grad)
        layer.weight.grad = None
    torch.testing.assert_close(*gradients)


def test_a_gradient_that_is_asked_for_at_the_probabilities_is_there():
    logits = torch.tensor([[0.0, 2.0]], requires_grad=True)
    with torch.no_grad():
        leaf = layers.Softmax()(logits)
    leaf.requires_grad_()
    retaining, hooked, seen = layers.Softmax()(logits), layers.Softmax()(logits), []
    retaining.retain_grad()
    hooked.register_hook(seen.append)
    for probabilities in (leaf, retaining, hooked):
        losses.sparse_categorical_crossentropy([0], probabilities).sum().backward()
    for gradient in (leaf.grad, retaining.grad, *seen):
        torch.testing.assert_close(gradient, torch.tensor([[1 - np.e**2 - 1, 1.0]], dtype=torch.float32))
    assert len(seen) == 1


class Reversed(torch.autograd.Function):
    """A softmax with a backward of its own."""

    @staticmethod
    def forward(context, logits):
        return layers.Softmax()(logits)

    @staticmethod
    def backward(context, gradient):
        return -gradient


def test_a_backward_of_ones_own_is_not_bypassed():
    logits = torch.tensor([[0.0, 2.0]], requires_grad=True)
    losses.sparse_categorical_crossentropy([0], Reversed.apply(logits)).sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[np.e**2, -1.0]], dtype=torch.float32))


def test_without_gradients_none_begins_at_the_logits():
    logits = SURE.clone().requires_grad_()
    with torch.no_grad():
        probabilities = layers.Softmax()(logits)
    found = losses.sparse_categorical_crossentropy(INDICES, probabilities)
    assert not found.requires_grad
    np.testing.assert_allclose(found, CLASSES_EXPECTED, rtol=1e-12)


def test_no_gradient_comes_back_through_what_was_detached():
    probabilities = layers.Softmax()(SURE.clone().requires_grad_())
    assert not losses.categorical_crossentropy(ONE_HOT, probabilities.detach_()).requires_grad


@pytest.mark.parametrize("name", ["SparseCategoricalCrossentropy", "CategoricalCrossentropy", "BinaryCrossentropy"])
def test_a_loss_in_float64_computes_in_it(name):
    layer = layers.Activation("sigmoid" if name.startswith("Binary") else "softmax")
    target = INDICES if name.startswith("Sparse") else ONE_HOT
    found = getattr(losses, name)(dtype="float64")(target, layer(SURE.float()))
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, getattr(losses, name)()(target, layer(SURE)), rtol=1e-12, atol=0)


def test_classes_and_units_that_are_masked_by_infinite_logits_cost_nothing():
    logits = torch.tensor([[0.0, -torch.inf, 1.0]], requires_grad=True)
    for of_layer in (layers.Softmax()(logits), layers.Activation("softmax")(logits)):
        found = losses.categorical_crossentropy([[1.0, 0.0, 0.0]], of_layer)
        torch.testing.assert_close(found, torch.log1p(torch.tensor([np.e], dtype=torch.float32)))
        assert torch.autograd.grad(found.sum(), logits)[0].isfinite().all()
    units = torch.tensor([[-torch.inf, torch.inf]], requires_grad=True)
    found = losses.binary_crossentropy([[0.0, 1.0]], layers.Activation("sigmoid")(units))
    assert found.tolist() == [0.0]
    assert torch.autograd.grad(found.sum(), units)[0].tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        ("softmax", "sparse_categorical_crossentropy"),
        ("softmax", "categorical_crossentropy"),
        ("sigmoid", "binary_crossentropy"),
    ],
)
def test_a_metric_of_the_same_name_is_the_loss(activation, name):
    model = penalize.Sequential([penalize.Input((2,)), layers.Dense(2, activation)])
    model.set_weights([np.eye(2, dtype="float32"), np.zeros(2, dtype="float32")])
    model.compile(penalize.optimizers.SGD(0.0), loss=name, metrics=[name])
    y = INDICES if name.startswith("sparse") else ONE_HOT
    history = model.fit(SURE.float(), y, verbose=0).history
    assert history[name] == pytest.approx(history["loss"], rel=1e-6)
    loss, metric = model.evaluate(SURE.float(), y, verbose=0)
    assert metric == pytest.approx(loss, rel=1e-6)
