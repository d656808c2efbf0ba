"""Models of symbolic inputs and outputs, beside Keras."""

import copy
import pickle

import keras
import numpy as np
import pytest
import torch
from torch import nn

import penalize
from penalize import layers
from penalize.errors import ArgumentError, ShapeError

MODELS = ("Functional", "Sequential")
X = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


def residual(library):
    x = library.Input((4,), name="x")
    hidden = library.layers.Dense(4, "tanh", kernel_regularizer="l1", activity_regularizer="l2", name="hidden")(x)
    total = library.layers.Add()([hidden, x]) * 2 - hidden / 4
    out = library.layers.Dense(1, bias_regularizer="l2", activity_regularizer="l1", name="out")(total)
    return library.Model(x, out, name="residual")


def shared(library):
    a, b = library.Input((4,), name="a"), library.Input((4,), name="b")
    dense = library.layers.Dense(3, kernel_regularizer="l2", activity_regularizer="l2", name="d")
    left, right = dense(a), dense(b)
    joined = library.layers.Concatenate()([left, right, left])
    return library.Model([a, b], [library.layers.Dense(2, activity_regularizer="l1")(joined), right])


def nested(library):
    x = library.Input((4,))
    inner = library.Sequential([library.Input((4,)), library.layers.Dense(3, kernel_regularizer="l1", name="i")])
    other = residual(library)
    deep, shallow = library.layers.Dense(3, activity_regularizer="l2")(inner(x)), other(x)
    return library.Model(x, [deep, shallow])


def branches(library):
    x = library.Input((4,))
    first = library.layers.Dense(3, name="one", kernel_regularizer="l1")(x)
    second = library.layers.Dense(3, name="two", kernel_regularizer="l2")(x)
    for _ in range(2):
        second = library.layers.Dense(3, "relu", kernel_regularizer="l1", activity_regularizer="l1")(second)
    merged = library.layers.Maximum()([first, second])
    return library.Model(x, [merged, first])


@pytest.mark.parametrize("make", [residual, shared, nested, branches])
def test_outputs_losses_and_weights_are_kerass(make):
    theirs, ours = make(keras), make(penalize)
    weights = [w + 0.1 for w in theirs.get_weights()]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    inputs = [X, X[::-1].copy()] if len(ours.inputs) > 1 else X
    expected, got = theirs(inputs), ours(inputs)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    listed = [sorted(model.losses) if make is nested else model.losses for model in (ours, theirs)]
    # Keras lists what is nested in reverse (trap T05).
    torch.testing.assert_close(*listed, rtol=1e-5, atol=1e-6)
    kinds = [[type(layer).__name__ for layer in model.layers] for model in (ours, theirs)]
    # Operators are no layers here.
    assert kinds[0] == [
        kind.replace("Functional", "Model") for kind in kinds[1] if hasattr(layers, kind) or kind in MODELS
    ]


def test_inputs_and_outputs_nest_in_dicts_and_go_by_name():
    a, b = penalize.Input((4,), name="a"), penalize.Input((4,), name="b")
    both = penalize.Model([a, b], {"sum": a + b, "product": a * b})
    x, y = torch.from_numpy(X), torch.ones(5, 4)
    for inputs in ([x, y], (x, y), {"b": y, "a": x}):
        output = both(inputs)
        torch.testing.assert_close(output["sum"], x + y)
        torch.testing.assert_close(output["product"], x * y)
    by_key = penalize.Model({"left": a, "right": b}, a - b)
    torch.testing.assert_close(by_key({"right": y, "left": x}), x - y)


def test_torch_functions_methods_slices_and_ops_take_symbolic_tensors():
    x = penalize.Input((6, 4))
    parts = torch.cat([x[:, :3], torch.relu(x[:, 3:])], dim=1)
    pooled = penalize.ops.mean(parts, axis=1) + x.amax(1) - (1 - x[:, 0]) ** 2 + 1.0 / (2.0 + x[:, 1] @ torch.eye(4))
    model = penalize.Model(x, -pooled)
    value = torch.rand(2, 6, 4)
    joined = torch.cat([value[:, :3], value[:, 3:].relu()], 1)
    expected = joined.mean(1) + value.amax(1) - (1 - value[:, 0]) ** 2 + 1 / (2 + value[:, 1])
    torch.testing.assert_close(model(value), -expected)


def test_unknown_axes_stay_unknown():
    x = penalize.Input((None, 4))
    assert x.shape == (None, None, 4)
    y = layers.Conv1D(3, 3, strides=2, padding="same")(x)
    assert y.shape == (None, None, 3)
    assert layers.GlobalMaxPooling1D()(y).shape == (None, 3)
    states = layers.LSTM(2, return_state=True)(x)
    assert [state.shape for state in states] == [(None, 2)] * 3
    assert layers.Embedding(7, 2)(penalize.Input((5,), dtype="int32")).shape == (None, 5, 2)


def test_a_symbolic_call_records_nothing_and_changes_no_statistics():
    norm = layers.BatchNormalization(activity_regularizer="l2")
    before = norm.training
    norm(penalize.Input((4,)), training=True)
    assert norm.training == before
    assert norm.losses == []
    assert norm.get_weights()[2].tolist() == [0.0] * 4


def test_training_in_a_call_is_kept():
    x = penalize.Input((4,))
    model = penalize.Model(x, layers.Dropout(0.5, seed=0)(x, training=True)).eval()
    assert (model(torch.ones(8, 4)) == 0).any()


def test_it_trains_saves_its_state_and_is_copied():
    model = residual(penalize)
    model.compile("sgd", "mse")
    logs = model.fit(X, X[:, :1], epochs=3, verbose=0).history
    assert logs["loss"][-1] < logs["loss"][0]
    assert list(model.state_dict()) == ["hidden.weight", "hidden.bias", "out.weight", "out.bias"]
    expected = model(X)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(other(X), expected)
        torch.testing.assert_close(other.losses, model.losses)
    other = residual(penalize)
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(X), expected)


def test_summary_shows_shapes_and_regularizers(capsys):
    residual(penalize).summary()
    printed = capsys.readouterr().out
    assert "(None, 4)" in printed
    assert "kernel: L1(l1=0.01)" in printed


def test_a_frozen_model_pays_for_activity_only_and_constraints_hold_in_fit():
    x = penalize.Input((4,))
    dense = layers.Dense(2, kernel_constraint="non_neg", kernel_regularizer="l1", activity_regularizer="l2")
    model = penalize.Model(x, dense(x))
    model.trainable = False
    model(X)
    assert len(model.losses) == 1
    model.trainable = True
    theirs_x = keras.Input((4,))
    other = keras.layers.Dense(2, kernel_constraint="non_neg", kernel_regularizer="l1", activity_regularizer="l2")
    theirs = keras.Model(theirs_x, other(theirs_x))
    theirs.set_weights(model.get_weights())
    for one, library in ((model, penalize), (theirs, keras)):
        one.compile(library.optimizers.SGD(0.1), "mse")
        one.fit(X, X[:, :2], epochs=4, batch_size=2, shuffle=False, verbose=0)
    assert model.get_weights()[0].min() == 0
    for mine, theirs_weight in zip(model.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs_weight, rtol=1e-4, atol=1e-6)


def test_several_inputs_in_fit_evaluate_and_predict():
    model = shared(penalize)
    single = penalize.Model(model.inputs, model.outputs[0])
    single.compile("sgd", "mse")
    y = X[:, :2]
    listed = single.evaluate([X, X], y, verbose=0)
    assert single.evaluate({"a": X, "b": X}, y, verbose=0) == listed
    assert single.predict([X, X], verbose=0).shape == (5, 2)
    assert "val_loss" in single.fit([X, X], y, validation_split=0.4, verbose=0).history


def unconnected():
    a, b = penalize.Input((4,)), penalize.Input((4,), name="other")
    return penalize.Model(a, a + b)


def two_names():
    x = penalize.Input((4,))
    return penalize.Model(x, layers.Dense(2, name="same")(x) + layers.Dense(2, name="same")(x))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (unconnected, ArgumentError, "the outputs need the input 'other', which is not among the inputs"),
        (two_names, ArgumentError, "two layers are named 'same'; give one another name"),
        (lambda: penalize.Model(torch.ones(2), torch.ones(2)), ArgumentError, "inputs must be made with Input"),
        (lambda: penalize.Model(penalize.Input((4,)), None), ArgumentError, "outputs must be made by calling layers"),
        (lambda: shared(penalize)([X]), ShapeError, "expected 2 inputs, got 1"),
        (lambda: shared(penalize)({"a": X}), ArgumentError, "no input 'b': known: 'a'"),
        (lambda: residual(penalize)(X, X), ArgumentError, "call the model with its inputs as one argument"),
        (lambda: residual(penalize)(X[:, :3]), ShapeError, r"x: expected inputs of shape \(None, 4\), got \(5, 3\)"),
        (lambda: nn.Linear(4, 2)(penalize.Input((4,))), ArgumentError, "put it into a layer: .*TorchModuleWrapper"),
        (lambda: bool(penalize.Input((4,)).sum() > 0), ArgumentError, "has no values yet"),
        (lambda: list(penalize.Input((4,))), ArgumentError, "cannot be iterated over"),
        (
            lambda: penalize.Sequential([layers.Dense(2)]).add_loss(penalize.Input((2,))),
            ArgumentError,
            "only in a Model",
        ),
        (lambda: penalize.Sequential([layers.Dense(2)]).inputs, ArgumentError, r"only a Model\(inputs, outputs\) has"),
    ],
)
def test_errors_name_what_is_wrong(make, error, message):
    with pytest.raises(error, match=message):
        make()
