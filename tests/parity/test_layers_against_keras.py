"""Layers beside Keras: outputs, losses in their order, and gradients, with weights copied through set_weights."""

import inspect

import keras
import numpy as np
import pytest
import torch

import penalize
from penalize.errors import ArgumentError, ShapeError
from penalize.layers.layer import NOT_HERE
from tests.parity.layer_table import CASES, compare, rows

TOLERANCES = {
    "float32": {"outputs": 1e-5, "losses": 2e-6, "gradients": 1e-4},
    # Keras sums penalties of outputs in bfloat16, and casts in other places.
    "mixed_bfloat16": {"outputs": 3e-2, "losses": 2e-2, "gradients": 8e-2},
}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.id)
def test_outputs_losses_and_gradients(row):
    for what, value in compare(row).items():
        assert value <= TOLERANCES[row.dtype][what], what


def test_the_table_has_every_layer_with_a_regularizer():
    takes = [
        name
        for name, layer in vars(keras.layers).items()
        if isinstance(layer, type)
        and issubclass(layer, keras.layers.Layer)
        and any(key.endswith("_regularizer") for key in inspect.signature(layer).parameters)
    ]
    aliases = {name for name in takes if getattr(keras.layers, name).__name__ != name and name != "GroupQueryAttention"}
    # Cells stand inside RNN; the base class is in every row.
    inside = {"Layer", "SimpleRNNCell", "LSTMCell", "GRUCell"}
    assert set(takes) - aliases - inside - set(CASES) == set()


@pytest.mark.parametrize("arguments", [{}, {"axis": 1, "momentum": 0.7}, {"center": False}, {"trainable": False}])
def test_batch_normalization_moves_its_statistics_as_keras_does(arguments):
    theirs, ours = keras.layers.BatchNormalization(**arguments), penalize.layers.BatchNormalization(**arguments)
    random = np.random.default_rng(0)
    for _ in range(3):
        x = random.normal(2.0, 3.0, size=(8, 5, 4)).astype("float32")
        expected, got = theirs(x, training=True), ours(x, training=True)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5)
    torch.testing.assert_close(ours.eval()(x), theirs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(0, 4), (0, 5, 4), (2, 0, 4)])
@pytest.mark.parametrize("masked", [False, True])
def test_an_empty_batch_leaves_the_statistics_where_keras_makes_them_nan(shape, masked):
    layer = penalize.layers.BatchNormalization(activity_regularizer="l2")
    layer(torch.randn(8, *shape[1:]))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    x = torch.zeros(shape, requires_grad=True)
    output = layer(x, mask=torch.ones(shape[:-1], dtype=torch.bool) if masked else None)
    assert output.shape == shape
    (output.sum() + sum(layer.losses)).backward()
    torch.testing.assert_close(dict(layer.state_dict()), before, rtol=0, atol=0)


@pytest.mark.parametrize(("shape", "axis"), [((1, 4), -1), ((1, 1, 4), -1), ((1, 4, 1), 1)])
def test_one_value_a_channel_is_normalized_as_keras_does(shape, axis):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    results = []
    for library in (keras, penalize):
        layer = library.layers.BatchNormalization(axis=axis, beta_initializer="ones", momentum=0.5)
        inputs = torch.tensor(x, requires_grad=True)
        output = layer(inputs, training=True)
        output.square().sum().backward()
        assert output.shape == shape
        results.append([output, inputs.grad, *map(torch.as_tensor, layer.get_weights())])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected)


def test_batch_normalization_loads_torch_checkpoints():
    theirs, ours = torch.nn.BatchNorm1d(4, eps=1e-3), penalize.layers.BatchNormalization()
    theirs(torch.randn(8, 4))
    ours.build((None, 4))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 4)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_normalizations_that_keras_fails_at_on_torch():
    x = torch.randn(2, 3, 4)
    layer = penalize.layers.LayerNormalization(axis=1)
    mean, variance = x.mean(1, keepdim=True), x.var(1, correction=0, keepdim=True)
    torch.testing.assert_close(layer(x), (x - mean) / (variance + 1e-3).sqrt())
    bare = penalize.layers.GroupNormalization(2, scale=False, center=False)
    groups = x.movedim(-1, 1).reshape(2, 2, -1)
    expected = (groups - groups.mean(2, keepdim=True)) / (groups.var(2, correction=0, keepdim=True) + 1e-3).sqrt()
    torch.testing.assert_close(bare(x), expected.reshape(2, 4, 3).movedim(1, -1))
    for bad, message in (
        (lambda: penalize.layers.GroupNormalization(3)(x), r"number of channels \(4\) must be a multiple of groups"),
        (lambda: penalize.layers.BatchNormalization(axis=3)(x), "axis 3 must be one of inputs of shape"),
        (lambda: penalize.layers.LayerNormalization(axis=0)(x), "axis 0 must be one of inputs of shape"),
        (lambda: layer(torch.randn(2, 5, 4)), r"axes \(1,\) must have sizes \(3,\), got shape \(2, 5, 4\)"),
    ):
        with pytest.raises(ArgumentError, match=message):
            bad()


def test_embedding():
    arguments = {"embeddings_regularizer": "l1", "activity_regularizer": "l2"}
    theirs, ours = keras.layers.Embedding(7, 3, **arguments), penalize.layers.Embedding(7, 3, **arguments)
    x = np.array([[0, 6, 2], [2, 2, 1]])
    theirs(x)
    ours.set_weights(theirs.get_weights())
    y, expected = ours(x), theirs(x)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(ours.losses, theirs.losses)
    (y.square().sum() + sum(ours.losses)).backward()
    (expected.square().sum() + sum(theirs.losses)).backward()
    torch.testing.assert_close(ours.weight.grad, theirs.trainable_weights[0].value.grad)
    table = np.arange(21.0).reshape(7, 3)
    assert np.array_equal(penalize.layers.Embedding(7, 3, weights=[table]).get_weights()[0], table)
    with pytest.raises(ShapeError, match=r"array 0 must have shape \(7, 3\), got \(3, 7\)"):
        penalize.layers.Embedding(7, 3, weights=table.T)


@pytest.mark.parametrize("name", [*CASES, "SimpleRNNCell", "LSTMCell", "GRUCell", "StackedRNNCells"])
def test_keywords_and_defaults_are_kerass(name):
    theirs = inspect.signature(getattr(keras.layers, name)).parameters
    ours = inspect.signature(getattr(penalize.layers, name)).parameters
    # Keywords of every layer, and those of what is not here, which are refused unless they say that it is not used.
    elsewhere = {"name", "dtype", "kwargs", *NOT_HERE}
    expected = [key for key in theirs if key not in elsewhere]
    assert [key for key in ours if key not in elsewhere] == expected
    for key in expected:
        if theirs[key].kind is theirs[key].POSITIONAL_OR_KEYWORD and key not in (
            "pool_size",
            "alpha_initializer",
            "padding",
        ):
            default = ours[key].default
            assert default == theirs[key].default or (default, theirs[key].default) in ((1, (1, 1)), (1, (1, 1, 1)))


def test_keywords_for_what_is_not_here():
    assert penalize.layers.Dense(2, lora_rank=None, quantization_config=None).units == 2
    assert penalize.layers.BatchNormalization(renorm=False, synchronized=False).axis == -1
    with pytest.raises(ArgumentError, match="Dense: lora_rank is not available in penalize; it must be None, got 4"):
        penalize.layers.Dense(2, lora_rank=4)


def test_flat_models_list_losses_in_kerass_order():
    def model(library):
        layer = library.layers.Dense
        both = {"kernel_regularizer": "l1", "bias_regularizer": "l2", "activity_regularizer": "l2"}
        return library.Sequential([library.Input((4,)), layer(3, name="a", **both), layer(2, name="b", **both)])

    theirs, ours = model(keras), model(penalize)
    ours.set_weights([w + 0.1 for w in theirs.get_weights()])
    theirs.set_weights(ours.get_weights())
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    theirs(x)
    ours(x)
    torch.testing.assert_close(torch.stack(ours.losses), torch.stack(theirs.losses))


def test_the_string_defaults_of_layers_reach_the_same_initial_distribution():
    theirs = keras.layers.Conv2D(64, 3)
    ours = penalize.layers.Conv2D(64, 3)
    theirs.build((None, 8, 8, 32))
    ours.build((None, 8, 8, 32))
    a, b = ours.get_weights()[0], theirs.get_weights()[0]
    assert a.std() == pytest.approx(b.std(), rel=0.05)
    assert np.abs(a).max() == pytest.approx(np.abs(b).max(), rel=0.02)


@pytest.mark.parametrize("shape", [(1, 6), (1, 1, 6), (2, 6), (2, 3, 6), (0, 6), (0, 3, 6)])
@pytest.mark.parametrize(("center", "scale"), [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("groups", [2, 6])
def test_groups_are_normalized_with_any_weights_and_any_number_of_values(shape, center, scale, groups):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    results = []
    for library in (keras, penalize):
        layer = library.layers.GroupNormalization(groups, center=center, scale=scale, beta_initializer="ones")
        inputs = torch.tensor(x, requires_grad=True)
        output = layer(inputs)
        output.pow(3).sum().backward()
        results.append((output, inputs.grad))
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-3)
