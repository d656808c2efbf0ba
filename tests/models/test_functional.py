"""Models of symbolic inputs and outputs, beside Keras."""

import copy
import pickle
import random

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


def drawn(library, seed):
    """A random graph of shared layers, residuals, nested models and several inputs and outputs."""
    draw = random.Random(seed)
    own = library.layers
    inputs = [library.Input((4,), name=f"in{i}") for i in range(draw.randint(1, 3))]
    tensors, dense = list(inputs), []
    for step in range(draw.randint(3, 10)):
        kind, x, other = (
            draw.choice(("dense", "shared", "add", "join", "operator", "stack", "model")),
            *draw.choices(tensors, k=2),
        )
        if kind == "dense" or (kind == "shared" and not dense):
            dense.append(own.Dense(4, "tanh", name=f"d{step}", kernel_regularizer="l1", activity_regularizer="l2"))
            tensors.append(dense[-1](x))
        elif kind == "shared":
            tensors.append(draw.choice(dense)(x))
        elif kind == "add":
            tensors.append(own.Add(name=f"add{step}")([x, other]))
        elif kind == "join":
            joined = own.Concatenate(name=f"join{step}")([x, other])
            tensors.append(own.Dense(4, name=f"c{step}", bias_regularizer="l2")(joined))
        elif kind == "operator":
            tensors.append(x * 2.0 - other)
        elif kind == "stack":
            parts = [own.Dense(4, name="one", kernel_regularizer="l2"), own.Dense(4, name="two")]
            tensors.append(library.Sequential(parts, name=f"stack{step}")(x))
        else:
            inner = library.Input((4,), name=f"inner{step}")
            hidden = own.Dense(4, name="p", kernel_regularizer="l2")(inner)
            tensors.append(library.Model(inner, hidden + own.Dense(4, name="q")(hidden), name=f"m{step}")(x))
    made = tensors[len(inputs) :]
    draw.shuffle(made)
    return library.Model(inputs, made[: draw.randint(1, 3)])


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs_are_kerass(seed):
    theirs, ours = drawn(keras, seed), drawn(penalize, seed)
    # Operators are no layers here.
    listed = [
        layer.name for layer in theirs.layers if hasattr(layers, type(layer).__name__) or type(layer).__name__ in MODELS
    ]
    assert [layer.name for layer in ours.layers] == listed
    numbers = np.random.default_rng(seed)
    weights = [numbers.normal(size=w.shape).astype("float32") * 0.4 for w in theirs.get_weights()]
    for model in (theirs, ours):
        model.set_weights(weights)
    inputs = [numbers.normal(size=(3, 4)).astype("float32") for _ in ours.inputs]
    torch.testing.assert_close(ours(inputs), theirs(inputs), rtol=1e-4, atol=1e-5)
    # Keras lists the activity of shared and nested layers in another order than that of the calls.
    torch.testing.assert_close(sorted(ours.losses), sorted(theirs.losses), rtol=1e-4, atol=1e-5)
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        torch.testing.assert_close(other(inputs), ours(inputs))
        torch.testing.assert_close(other.losses, ours.losses)


def test_an_encoder_hands_its_states_to_a_decoder_as_in_keras():
    def build(library):
        source, target = library.Input((None, 4), name="source"), library.Input((None, 5), name="target")
        _, *states = library.layers.LSTM(3, return_state=True, activity_regularizer="l2")(source)
        decoded = library.layers.LSTM(3, return_sequences=True, kernel_regularizer="l1")(target, initial_state=states)
        return library.Model([source, target], library.layers.Dense(2)(decoded))

    theirs, ours = build(keras), build(penalize)
    ours.set_weights(theirs.get_weights())
    inputs = [np.random.default_rng(1).normal(size=(2, *shape)).astype("float32") for shape in ((6, 4), (3, 5))]
    torch.testing.assert_close(ours(inputs), theirs(inputs), rtol=1e-5, atol=1e-6)
    # Keras penalizes the states, too (trap T03).
    assert len(ours.losses) == len(theirs.losses) - 2 == 2


def test_a_list_of_one_output_is_that_output_as_in_keras():
    x = penalize.Input((4,))
    model = penalize.Model([x], [layers.Dense(2)(x)])
    assert model(X).shape == model([X]).shape == model(inputs=X).shape == (5, 2)
    assert model(x).shape == (None, 2)
    assert [tensor.shape for tensor in model.outputs] == [(None, 2)]
    model.compile("sgd", "mse")
    assert model.fit(X, X[:, :2], verbose=0).history["loss"][0] > 0


@pytest.mark.parametrize(
    "name", ["inputs", "outputs", "losses", "layers", "graph", "optimizer", "training", "call", "a.b"]
)
def test_layers_may_have_the_names_of_a_models_attributes(name):
    x = penalize.Input((4,))
    model = penalize.Model(x, layers.Dense(2, name=name, kernel_regularizer="l2")(x))
    model.add_loss(model.outputs[0].sum())
    model(X)
    assert model.get_layer(name) is model.layers[1]
    assert len(model.losses) == 2
    assert model.inputs == [x]
    other = penalize.Model(x, layers.Dense(2, name=name)(x))
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(X), model(X))
    penalties = penalize.attach(model, weights={"*weight": "l1"})
    assert penalties.loss().item() == pytest.approx(
        0.01 * model.layers[1].weight.abs().sum().item() + model(X).sum().item(), rel=1e-4
    )


def test_a_deep_model_is_copied_and_pickled():
    x = hidden = penalize.Input((4,))
    for index in range(300):
        hidden = layers.Dense(4, name=f"d{index}", kernel_regularizer="l2")(hidden) + hidden
    model = penalize.Model(x, hidden)
    copied = copy.deepcopy(model)
    pickle.dumps(model)
    assert [tensor.shape for tensor in copied.outputs] == [(None, 4)]
    assert copied.outputs[0].node.inputs
    assert copied.layers[1] is not model.layers[1]
    extended = penalize.Model(copied.inputs, layers.Dense(1)(copied.outputs[0]))
    assert extended.layers[1] is copied.layers[1]
    assert layers.Dense(2)(copy.deepcopy(x)).shape == (None, 2)


def test_operators_take_numbers_arrays_and_tensors_on_both_sides():
    x = penalize.Input((4,))
    value, row, square = torch.rand(5, 4) + 0.1, np.arange(1.0, 5.0), np.eye(4)
    tensor = torch.arange(1.0, 5.0)
    made = [
        row * x, x * row, row - x, x - row, row / x, x / row, x @ square,
        2**x, x**2, x // 2, 7 // x, x % 2, 7 % x, abs(-x), tensor * x, x * tensor, np.float64(2) * x,
    ]  # fmt: skip
    numbers = torch.tensor(row, dtype=torch.float32)
    expected = [
        numbers * value, value * numbers, numbers - value, value - numbers, numbers / value, value / numbers, value,
        2**value, value**2, value // 2, 7 // value, value % 2, 7 % value, value, tensor * value, value * tensor, 2 * value,
    ]  # fmt: skip
    for got, wanted in zip(penalize.Model(x, made)(value), expected, strict=True):
        torch.testing.assert_close(got, wanted)


def test_comparisons_and_conditions_join_as_in_keras():
    def build(library):
        x = library.Input((4,))
        return library.Model(x, [(x > 0) & (x < 1), (x >= 0.5) | (x <= -0.5), ~(x > 0)])

    for got, expected in zip(build(penalize)(X), build(keras)(X), strict=True):
        assert torch.equal(got, expected)


def test_a_symbolic_loss_is_trained_on_with_what_its_layers_pay():
    x = penalize.Input((4,))
    hidden = layers.Dense(3, "tanh", name="hidden")(x)
    model = penalize.Model(x, layers.Dense(1, name="out")(hidden))
    extra = layers.Dense(1, name="extra", kernel_regularizer="l2")
    model.add_loss(0.1 * extra(hidden).square().sum())
    assert [layer.name for layer in model.layers][1:] == ["hidden", "out", "extra"]
    weights = [weight.detach().clone().requires_grad_() for weight in model.parameters()]
    kernel, bias, out, out_bias, own, own_bias = weights
    value = torch.from_numpy(X)
    inner = torch.tanh(value @ kernel.T + bias)
    penalty = 0.1 * (inner @ own.T + own_bias).square().sum() + 0.01 * own.square().sum()
    loss = (inner @ out.T + out_bias - 1).square().mean() + penalty
    gradients = torch.autograd.grad(loss, weights)
    model.compile(penalize.optimizers.SGD(0.1), "mse")
    logs = model.fit(X, np.ones((5, 1)), batch_size=5, verbose=0).history
    assert logs["loss"] == [pytest.approx(loss.item(), rel=1e-5)]
    assert logs["penalty"] == [pytest.approx(penalty.item(), rel=1e-5)]
    for got, weight, gradient in zip(model.parameters(), weights, gradients, strict=True):
        torch.testing.assert_close(got.detach(), (weight - 0.1 * gradient).detach(), rtol=1e-4, atol=1e-6)


def test_a_models_own_activity_regularizer_penalizes_every_output_once():
    x = penalize.Input((4,))
    first, second = layers.Dense(2), layers.Dense(3)
    model = penalize.Model(x, {"a": first(x), "b": second(x)}, activity_regularizer="l2")
    outputs = model(X)
    expected = [0.01 * outputs[key].square().sum() / 5 for key in ("a", "b")]
    torch.testing.assert_close(model.losses, expected)
    nested = penalize.Model(x, model(x)["a"])
    nested(X)
    torch.testing.assert_close(nested.losses, expected)


def test_a_subclass_may_hand_inputs_and_outputs_to_model():
    class Small(penalize.Model):
        def __init__(self):
            x = penalize.Input((4,))
            super().__init__(x, layers.Dense(2, kernel_regularizer="l2")(x), name="small")

    model = Small()
    expected = model(X)
    assert len(model.losses) == 1
    torch.testing.assert_close(copy.deepcopy(model)(X), expected)


@pytest.mark.parametrize("make", [residual, shared, nested, branches])
def test_one_compiled_and_one_exported_graph(make):
    model = make(penalize).eval()
    value = torch.from_numpy(X)
    inputs = [value, value + 1] if len(model.inputs) > 1 else value
    expected, losses = model(inputs), model.losses
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(inputs), expected)
    torch.testing.assert_close(model.losses, losses)
    exported = torch.export.export(model, (inputs,), strict=False).module()
    torch.testing.assert_close(exported(inputs), expected)


def test_functional_call_and_vmap_over_a_functional_model():
    model = residual(penalize)
    weights = {name: torch.stack([weight, 2 * weight]) for name, weight in model.named_parameters()}
    value = torch.from_numpy(X)
    outputs = torch.func.vmap(lambda own: torch.func.functional_call(model, own, (value,)))(weights)
    for index in (0, 1):
        own = {name: stacked[index] for name, stacked in weights.items()}
        torch.testing.assert_close(outputs[index], torch.func.functional_call(model, own, (value,)))


@pytest.mark.parametrize("constraint", ["non_neg", "max_norm", "unit_norm", "min_max_norm"])
def test_constraints_hold_in_fit_as_in_keras(constraint):
    def build(library):
        x = library.Input((6, 4))
        three = dict.fromkeys(("kernel_constraint", "recurrent_constraint", "bias_constraint"), constraint)
        hidden = library.layers.GRU(3, return_sequences=True, **three)(x)
        hidden = library.layers.Conv1D(2, 2, kernel_constraint=constraint)(hidden)
        pooled = library.layers.GlobalAveragePooling1D()(hidden)
        return library.Model(x, library.layers.Dense(1, kernel_constraint=constraint)(pooled))

    numbers = np.random.default_rng(2)
    x = numbers.normal(size=(4, 6, 4)).astype("float32")
    finals, weights = [], None
    for library in (keras, penalize):
        model = build(library)
        weights = weights or [numbers.normal(size=w.shape).astype("float32") for w in model.get_weights()]
        model.set_weights(weights)
        model.compile(library.optimizers.SGD(0.3), "mse")
        model.fit(x, np.ones((4, 1), "float32"), epochs=3, batch_size=2, shuffle=False, verbose=0)
        finals.append(model.get_weights())
    for got, expected in zip(finals[1], finals[0], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


def captured():
    dense = layers.Dense(3)
    dense.build((None, 4))
    return penalize.Input((4,)) @ dense.kernel


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
        (
            lambda: nn.LSTM(4, 2)(penalize.Input((5, 4))),
            ArgumentError,
            "if a torch module asks for it, put it into a layer",
        ),
        (
            lambda: nn.Dropout(0.5)(penalize.Input((4,))),
            ArgumentError,
            "trains whether the model does or not; put it into",
        ),
        (captured, ArgumentError, "has weights that the model would not have"),
        (
            lambda: torch.stack([penalize.Input((4,)), nn.Parameter(torch.ones(2, 4))]),
            ArgumentError,
            "has weights that",
        ),
        (lambda: np.asarray(penalize.Input((4,))), ArgumentError, "has no values yet: NumPy's functions belong into"),
        (
            lambda: layers.Dense(2)(penalize.Input((None,))),
            ShapeError,
            r"an axis of inputs of shape \(None, None\) must be known",
        ),
        (
            lambda: penalize.Model(penalize.Input((4,)), penalize.Input((4,)), activty_regularizer="l2"),
            ArgumentError,
            "did you mean 'activity_regularizer'",
        ),
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
