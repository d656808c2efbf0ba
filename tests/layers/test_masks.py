"""Masks: which layers use them, hand them on or drop them, beside Keras; and what an activity penalty makes of them."""

import keras
import numpy as np
import pytest
import torch
from tests.parity.layer_table import CASES

import penalize
from penalize import layers
from penalize.masks import mask_of

MASK = torch.tensor([[1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1]], dtype=torch.bool)
X = np.random.default_rng(0).normal(size=(4, 3, 2)).astype("float32")


def masked(x=X, mask=MASK):
    x = torch.tensor(x)
    x._keras_mask = mask
    return x


def of_keras(tensor):
    return getattr(tensor, "_keras_mask", None)


def made(library, name):
    _, given = CASES[name][0]
    arguments = {key: value(library, "float32") if callable(value) else value for key, value in given.items()}
    return getattr(library.layers, name)(**arguments)


@pytest.mark.parametrize("name", CASES)
def test_the_same_layers_hand_masks_on(name):
    assert made(penalize, name).supports_masking == made(keras, name).supports_masking


@pytest.mark.parametrize(
    "make",
    [
        lambda library: library.layers.Dense(3),
        lambda library: library.layers.LayerNormalization(),
        lambda library: library.layers.Dropout(0.5),
        lambda library: library.layers.LSTM(3),
        lambda library: library.layers.GRU(3, return_sequences=True),
        lambda library: library.layers.Bidirectional(library.layers.LSTM(3, return_sequences=True), merge_mode="ave"),
        lambda library: library.layers.TimeDistributed(library.layers.Dense(3)),
        lambda library: library.layers.GlobalAveragePooling1D(),
    ],
)
def test_masks_travel_as_in_keras(make):
    theirs, ours = make(keras), make(penalize)
    theirs(X)
    ours(X)
    ours.set_weights(theirs.get_weights())
    expected, got = theirs(masked()), ours.eval()(masked())
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    if of_keras(expected) is None:
        assert mask_of(got) is None
    else:
        assert torch.equal(mask_of(got), of_keras(expected))


def test_a_mask_travels_through_nested_models():
    inner = penalize.Sequential([layers.Dense(3), layers.ReLU()])
    x = penalize.Input((3, 2))
    model = penalize.Model(x, penalize.Sequential([inner, layers.Dense(1)])(x))
    assert torch.equal(mask_of(model(masked())), MASK)


def test_a_layer_that_drops_a_mask_says_so():
    with pytest.warns(UserWarning, match="mine: its input has a mask, which Flatten does not hand on"):
        output = layers.Flatten(name="mine")(masked())
    assert mask_of(output) is None


def test_masking_and_embedding_make_masks():
    x = X.copy()
    x[0, 1] = 0
    assert mask_of(layers.Masking()(x)).tolist()[0] == [True, False, True]
    assert mask_of(layers.Masking(mask_value=5.0)(x)).all()
    embedding = layers.Embedding(5, 2, mask_zero=True)
    assert mask_of(embedding(np.array([[0, 3]]))).tolist() == [[False, True]]
    assert mask_of(layers.Embedding(5, 2)(np.array([[0, 3]]))) is None


@pytest.mark.parametrize("training", [False, True])
def test_batch_normalization_leaves_padding_out_of_its_statistics(training):
    theirs, ours = keras.layers.BatchNormalization(momentum=0.5), layers.BatchNormalization(momentum=0.5)
    expected, got = theirs(masked(), training=training), ours(masked(), training=training)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


def test_batch_normalization_with_a_mask_has_the_gradient_of_its_statistics():
    layer = layers.BatchNormalization(dtype="float64")
    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    layer(x, mask=MASK)
    assert torch.autograd.gradcheck(lambda x: layer(x, mask=MASK), (x,))


def test_softmax_gives_nothing_to_what_is_masked():
    keep = torch.tensor([[True, False, True]])
    expected = keras.layers.Softmax()(torch.ones(1, 3), mask=keep)
    torch.testing.assert_close(layers.Softmax()(torch.ones(1, 3), mask=keep), expected)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
def test_losses_and_metrics_of_fit_and_evaluate_leave_padding_out(reduction):
    x, y = X * MASK.numpy()[..., None], np.random.default_rng(1).normal(size=(4, 3, 1)).astype("float32")
    results = []
    for library in (keras, penalize):
        dense = library.layers.Dense(1, kernel_initializer="ones", kernel_regularizer="l2")
        model = library.Sequential([library.Input((3, 2)), library.layers.Masking(), dense])
        model.compile(
            library.optimizers.SGD(0.1), library.losses.MeanSquaredError(reduction=reduction), metrics=["mae"]
        )
        history = model.fit(x, y, epochs=2, batch_size=2, shuffle=False, verbose=0).history
        results.append([*history["loss"], *history["mae"], *model.evaluate(x, y, batch_size=2, verbose=0)])
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5)


def test_mask_activity_counts_padding_as_zeros():
    dense = layers.Dense(2, activity_regularizer="l2", mask_activity=True)
    output = dense(masked())
    expected = 0.01 * (output * MASK[..., None]).square().sum() / 4
    assert dense.losses[0].item() == pytest.approx(expected.item())
    dense.mask_activity = False
    dense(masked())
    assert dense.losses[0].item() == pytest.approx(0.01 * output.square().sum().item() / 4)


def test_an_explicit_mask_is_preferred_to_that_of_the_inputs():
    layer = layers.LSTM(3)
    layer(X)
    every = torch.ones(4, 3, dtype=torch.bool)
    torch.testing.assert_close(layer(masked(), mask=every), layer(torch.tensor(X)))
