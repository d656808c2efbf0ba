"""Recurrent layers beside Keras and torch, for what the parity table leaves out."""

import copy
import pickle

import keras
import numpy as np
import pytest
import torch
from torch import nn

import penalize
from penalize import layers
from penalize.errors import ArgumentError, NotBuiltError, ShapeError

X = np.random.default_rng(0).normal(size=(3, 6, 4)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 0, 0], [1, 0, 1, 0, 1, 1], [0, 0, 1, 1, 1, 1]], bool)
KINDS = ("SimpleRNN", "LSTM", "GRU")
PENALIZED = {"kernel_regularizer": "l1", "recurrent_regularizer": "l2", "bias_regularizer": "l2"}


def pair(kind, *arguments, x=X, **keywords):
    """Keras's layer and ours with the same weights."""
    made = [getattr(library.layers, kind)(*arguments, **keywords) for library in (keras, penalize)]
    for layer in made:
        layer(x)
    random = np.random.default_rng(1)
    weights = [0.3 * random.normal(size=w.shape).astype("float32") for w in made[0].get_weights()]
    for layer in made:
        layer.set_weights(weights)
    return made


def flat(output):
    return [output] if isinstance(output, torch.Tensor) else list(output)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"return_sequences": True},
        {"return_sequences": True, "go_backwards": True},
        {"return_sequences": True, "zero_output_for_mask": True},
        {"return_state": True},
    ],
)
def test_masked_steps_are_left_out_as_in_keras(kind, options):
    theirs, ours = pair(kind, 5, **options)
    expected, got = (flat(layer(torch.tensor(X), mask=torch.tensor(MASK))) for layer in (theirs, ours))
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_come_from_masking_and_embedding(kind):
    def models(library):
        masked = [library.Input((6, 4)), library.layers.Masking(), library.layers.Dropout(0.5)]
        tail = [getattr(library.layers, kind)(5, return_sequences=True), getattr(library.layers, kind)(3)]
        words = [library.Input((6,), dtype="int32"), library.layers.Embedding(9, 4, mask_zero=True)]
        again = [library.layers.Bidirectional(getattr(library.layers, kind)(5)), library.layers.Dense(1)]
        return library.Sequential([*masked, *tail]), library.Sequential([*words, *again])

    x = X * MASK[..., None]
    indices = np.where(MASK, np.arange(18).reshape(3, 6) % 8 + 1, 0)
    for theirs, ours, inputs in zip(models(keras), models(penalize), (x, indices), strict=True):
        ours.set_weights(theirs.get_weights())
        torch.testing.assert_close(ours.eval()(inputs), theirs(inputs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_initial_states_and_returned_states(kind):
    theirs, ours = pair(kind, 5, return_state=True, return_sequences=True)
    count = 2 if kind == "LSTM" else 1
    states = [torch.randn(3, 5) for _ in range(count)]
    for expected, got in zip(theirs(X, initial_state=states), ours(X, initial_state=states), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ArgumentError, match=rf"initial_state must have {count} states, got 3"):
        ours(X, initial_state=[states[0]] * 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stateful_layer_goes_on_until_it_is_reset(kind):
    theirs, ours = pair(kind, 5, stateful=True)
    theirs.reset_state()
    ours.reset_state()
    first = ours(X)
    torch.testing.assert_close(first, theirs(X), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours(X), theirs(X), rtol=1e-5, atol=1e-6)
    with pytest.raises(ShapeError, match=r"stateful layers keep the batch size, 3, got 2; reset_state\(\)"):
        ours(X[:2])
    ours.reset_state()
    torch.testing.assert_close(ours(X), first)


@pytest.mark.parametrize("cell", [False, True])
def test_stacked_and_custom_cells(cell):
    def stack(library):
        class Minimal(library.layers.Layer):
            state_size = 2
            units = 2

            def build(self, input_shape):
                self.kernel = self.add_weight(shape=(input_shape[-1], 2), initializer="ones", name="kernel")
                self.built = True

            def call(self, inputs, states):
                output = inputs @ self.kernel + 0.5 * states[0]
                return output, [output]

        cells = [library.layers.LSTMCell(3), library.layers.GRUCell(4), library.layers.SimpleRNNCell(2)]
        return library.layers.RNN(Minimal() if cell else cells, return_sequences=True, return_state=True)

    theirs, ours = stack(keras), stack(penalize)
    theirs(X)
    ours(X)
    ours.set_weights(theirs.get_weights())
    expected, got = theirs(X), ours(X)
    assert len(got) == len(expected)
    torch.testing.assert_close(got[0], expected[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masked", [False, True])
def test_dropout_is_one_mask_a_sequence_and_none_outside_of_training(kind, masked):
    ones = torch.ones(64, 5, 32)
    mask = torch.ones(64, 5, dtype=torch.bool) if masked else None
    layer = getattr(layers, kind)(2, dropout=0.25, seed=1)
    layer(ones)
    seen = []
    step, kernel = layer.cell.step, layer.cell.kernel_sequence
    layer.cell.step = lambda inputs, *rest: (seen.append(inputs), step(inputs, *rest))[1]
    layer.cell.kernel_sequence = lambda inputs, *rest: (seen.extend(inputs.unbind(1)), kernel(inputs, *rest))[1]
    layer(ones, mask=mask)
    assert len(seen) == 5
    assert all(torch.equal(one, seen[0]) for one in seen)
    assert seen[0].unique().tolist() == [0.0, pytest.approx(1 / 0.75)]
    assert (seen[0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    layer.eval()
    seen.clear()
    layer(ones, mask=mask)
    assert torch.equal(seen[0], ones[:, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_recurrent_dropout_draws_from_the_seed(kind):
    outputs = []
    for _ in range(2):
        torch.manual_seed(0)
        layer = getattr(layers, kind)(8, recurrent_dropout=0.5, seed=3, kernel_initializer="ones")
        outputs.append(layer(X))
    torch.testing.assert_close(outputs[0], outputs[1])
    assert not torch.equal(layer(X), layer.eval()(X))


def test_a_regularizer_or_constraint_set_on_the_layer_is_the_cells():
    layer = layers.LSTM(2)
    layer(X)
    layer.kernel_regularizer = penalize.regularizers.L2(3.0)
    layer.recurrent_constraint = "non_neg"
    assert [loss.item() for loss in layer.losses] == [pytest.approx(3 * layer.cell.kernel.square().sum().item())]
    layer.apply_constraints()
    assert layer.cell.recurrent_kernel.min() >= 0
    layer.kernel_regularizer = None
    assert layer.losses == []


@pytest.mark.parametrize("kind", KINDS)
def test_torch_checkpoints_load(kind):
    torchs = {"SimpleRNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}[kind]
    theirs, ours = torchs(4, 5, batch_first=True), getattr(layers, kind)(5, return_sequences=True)
    ours(X)
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours(X), theirs(torch.tensor(X))[0], rtol=1e-5, atol=1e-6)
    both, mine = (
        torchs(4, 5, batch_first=True, bidirectional=True),
        layers.Bidirectional(getattr(layers, kind)(5, return_sequences=True)),
    )
    mine(X)
    mine.load_state_dict(both.state_dict())
    torch.testing.assert_close(mine(X), both(torch.tensor(X))[0], rtol=1e-5, atol=1e-6)
    cell, own = getattr(nn, f"{kind.removeprefix('Simple')}Cell")(4, 5), getattr(layers, f"{kind}Cell")(5)
    own.build((None, 4))
    own.load_state_dict(cell.state_dict())
    state = cell(torch.tensor(X[:, 0]))
    zeros = [torch.zeros(3, 5)] * (2 if kind == "LSTM" else 1)
    output, _ = own(X[:, 0], zeros)
    torch.testing.assert_close(output, state[0] if kind == "LSTM" else state, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "make", [lambda: layers.GRU(3, **PENALIZED), lambda: layers.Bidirectional(layers.LSTM(3, **PENALIZED))]
)
def test_copies_pickles_and_state_dicts(make):
    layer = make()
    expected = layer(X)
    fresh = make()
    fresh(X)
    fresh.load_state_dict(layer.state_dict())
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), fresh):
        torch.testing.assert_close(other(X), expected)
        torch.testing.assert_close(other.losses, layer.losses)


@pytest.mark.parametrize("kind", [*KINDS, "GRU without reset_after", "masked"])
def test_gradcheck(kind):
    if kind == "masked":
        layer, arguments = layers.LSTM(2, dtype="float64"), {"mask": torch.tensor(MASK)}
    else:
        options = {"reset_after": False} if "without" in kind else {}
        layer, arguments = getattr(layers, kind.split()[0])(2, dtype="float64", **options), {}
    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    layer(x, **arguments)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x, **arguments), (x, *layer.parameters()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bound", [False, True])
def test_attached_penalties_reach_recurrent_weights_in_both_modes(kind, bound):
    layer = getattr(layers, kind)(3, **PENALIZED)
    layer(X)
    reference = [parameter.detach().clone().requires_grad_() for parameter in layer.parameters()]
    # L1 and L2 do not depend on the layout.
    sum(
        (weight.abs() if strength == "l1" else weight.square()).sum() * 0.01
        for weight, strength in zip(reference, ("l1", "l2", "l2"), strict=True)
    ).backward()
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    penalties = penalize.attach(layer)
    if bound:
        penalties.bind(optimizer)
    else:
        penalties.loss().backward()
    optimizer.step()
    for parameter, weight in zip(layer.parameters(), reference, strict=True):
        torch.testing.assert_close(parameter, weight.detach() - weight.grad)


def test_orthogonal_on_a_gru_sees_keras_layout_in_both_modes():
    grads = []
    for bound in (False, True):
        torch.manual_seed(0)
        layer = layers.GRU(
            3, recurrent_regularizer="orthogonal_regularizer", kernel_regularizer="orthogonal_regularizer"
        )
        layer(X)
        theirs = keras.regularizers.OrthogonalRegularizer()(layer.cell.kernel.detach())
        assert layer.losses[0].item() == pytest.approx(float(theirs), rel=1e-5)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
        penalties = penalize.attach(layer)
        if bound:
            penalties.bind(optimizer)
            optimizer.step()
        else:
            penalties.loss().backward()
        grads.append([parameter.grad for parameter in (layer.cell.weight_ih, layer.cell.weight_hh)])
    torch.testing.assert_close(grads[0], grads[1])


@pytest.mark.parametrize("kind", [*KINDS, "ConvLSTM1D"])
def test_compiled_and_exported(kind):
    x = torch.randn(2, 3, 5, 4) if kind == "ConvLSTM1D" else torch.tensor(X)
    arguments = (3, 2) if kind == "ConvLSTM1D" else (3,)
    layer = getattr(layers, kind)(*arguments, activity_regularizer="l2", **PENALIZED)
    expected, losses = layer(x), layer.losses
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        torch.testing.assert_close(compiled(x), expected)
        torch.testing.assert_close(layer.losses, losses)
    exported = torch.export.export(layer.eval(), (x,), strict=False).module()
    torch.testing.assert_close(exported(x), expected)


def test_functional_call_uses_the_given_weights():
    layer = layers.GRU(3)
    layer(X)
    weights = {name: torch.zeros_like(parameter) for name, parameter in layer.named_parameters()}
    assert torch.equal(torch.func.functional_call(layer, weights, (torch.tensor(X),)), torch.zeros(3, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_batch_gives_an_empty_output_and_no_penalty(kind):
    layer = getattr(layers, kind)(3, activity_regularizer="l2")
    layer(X)
    assert layer(X[:0]).shape == (0, 3)
    assert layer.losses[0].item() == 0.0


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave", None])
@pytest.mark.parametrize("sequences", [False, True])
def test_bidirectional_merges_and_returns_states_as_keras_does(mode, sequences):
    def make(library):
        inner = library.layers.GRU(3, return_sequences=sequences, return_state=True)
        return library.layers.Bidirectional(inner, merge_mode=mode)

    theirs, ours = make(keras), make(penalize)
    theirs(X)
    ours(X)
    ours.set_weights(theirs.get_weights())
    states = [torch.randn(3, 3), torch.randn(3, 3)]
    for arguments in ({}, {"mask": torch.tensor(MASK)}, {"initial_state": states}):
        expected, got = theirs(X, **arguments), ours(X, **arguments)
        torch.testing.assert_close(list(got), list(expected), rtol=1e-5, atol=1e-6)


def test_bidirectional_pays_each_penalty_once_a_direction_and_its_own_once():
    inner = layers.LSTM(3, activity_regularizer="l2", return_state=True, **PENALIZED)
    layer = layers.Bidirectional(inner, activity_regularizer="l1")
    merged = layer(X)[0]
    assert len(layer.losses) == 1 + 2 + 6
    assert layer.losses[0].item() == pytest.approx(0.01 * merged.abs().sum().item() / 3)
    assert layer.forward_layer.kernel_regularizer is not layer.backward_layer.kernel_regularizer


def test_time_distributed_layers_with_batch_statistics_go_step_by_step_in_training():
    def make(library):
        inner = library.Sequential([library.layers.Dense(3), library.layers.BatchNormalization(momentum=0.5)])
        return library.layers.TimeDistributed(inner)

    theirs, ours = make(keras), make(penalize)
    theirs(X)
    ours(X)
    ours.set_weights(theirs.get_weights())
    torch.testing.assert_close(ours(X, training=True), theirs(X, training=True), rtol=1e-4, atol=1e-5)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.eval()(X), theirs(X), rtol=1e-4, atol=1e-5)


def test_time_distributed_pays_every_layer_inside_for_the_whole_output():
    dense = layers.Dense(2, activity_regularizer="l1")
    inner = penalize.Sequential([dense, layers.Dense(3, activity_regularizer="l2")])
    layer = layers.TimeDistributed(inner, activity_regularizer="l2")
    output = layer(X)
    hidden = dense(X)
    layer(X)
    expected = [0.01 * output.square().sum() / 3, 0.01 * hidden.abs().sum() / 3, 0.01 * output.square().sum() / 3]
    torch.testing.assert_close(layer.losses, [value.detach() for value in expected], check_stride=False)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"return_sequences": True, "go_backwards": True, "return_state": True},
        {"return_sequences": True, "zero_output_for_mask": True},
    ],
)
def test_stacked_cells_take_masks_and_initial_states_as_in_keras(options):
    def stack(library):
        cells = [library.layers.LSTMCell(3), library.layers.GRUCell(2), library.layers.SimpleRNNCell(4)]
        return library.layers.RNN(cells, **options)

    theirs, ours = stack(keras), stack(penalize)
    theirs(X)
    ours(X)
    ours.set_weights(theirs.get_weights())
    states = [[torch.randn(3, 3), torch.randn(3, 3)], torch.randn(3, 2), torch.randn(3, 4)]
    for arguments in ({"mask": torch.tensor(MASK)}, {"initial_state": states}):
        expected, got = (leaves(layer(torch.tensor(X), **arguments)) for layer in (theirs, ours))
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def leaves(output):
    return [output] if isinstance(output, torch.Tensor) else [leaf for part in output for leaf in leaves(part)]


@pytest.mark.parametrize(
    "options",
    [
        {"return_sequences": True},
        {"return_sequences": True, "go_backwards": True},
        {"return_sequences": True, "zero_output_for_mask": True},
        {"data_format": "channels_first", "return_state": True},
        {"stateful": True},
    ],
)
def test_conv_lstm_takes_masks_and_keeps_states_as_in_keras(options):
    images = np.random.default_rng(2).normal(size=(3, 6, 7, 5)).astype("float32")
    theirs, ours = pair("ConvLSTM1D", 2, 3, padding="same", x=images, **options)
    for layer in (theirs, ours):
        if options.get("stateful"):
            layer.reset_state()
            layer(images)
    expected, got = (flat(layer(torch.tensor(images), mask=torch.tensor(MASK))) for layer in (theirs, ours))
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def test_conv_lstm_begins_with_given_states_or_zeros_of_their_shape():
    images = np.random.default_rng(2).normal(size=(3, 6, 7, 5)).astype("float32")
    theirs, ours = pair("ConvLSTM1D", 2, 3, strides=2, return_state=True, x=images)
    states = [torch.randn(3, 3, 2), torch.randn(3, 3, 2)]
    expected, got = (list(layer(torch.tensor(images), initial_state=states)) for layer in (theirs, ours))
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    assert [state.shape for state in ours.get_initial_state(4)] == [(4, 3, 2)] * 2
    with pytest.raises(NotBuiltError, match="the shape of the states is known once it is built"):
        layers.ConvLSTM1D(2, 3).get_initial_state(4)


@pytest.mark.parametrize("mask", [MASK[..., None], MASK.astype("float32")])
def test_masks_may_be_numbers_and_have_a_last_axis_of_one(mask):
    layer = layers.GRU(3)
    torch.testing.assert_close(layer(X, mask=torch.tensor(mask)), layer(X, mask=torch.tensor(MASK)))


@pytest.mark.parametrize("make", [lambda: layers.LSTM(2), lambda: layers.ConvLSTM1D(2, 2, padding="same")])
@pytest.mark.parametrize("shape", [(3,), (3, 5), (3, 6, 4)])
def test_masks_of_another_shape_are_refused(make, shape):
    layer = make()
    x = torch.tensor(X) if isinstance(layer, layers.LSTM) else torch.ones(3, 6, 4, 2)
    with pytest.raises(ShapeError, match=r"lstm.*: mask must be \(batch, time\), \(3, 6\), got shape"):
        layer(x, mask=torch.ones(shape, dtype=torch.bool))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", ["Sequential", "Model"])
def test_building_a_model_leaves_no_states_behind(kind, make):
    layer = getattr(layers, kind)(3, stateful=True)
    if make == "Sequential":
        model = penalize.Sequential([penalize.Input((6, 4)), layer])
    else:
        x = penalize.Input((6, 4))
        model = penalize.Model(x, layer(x))
    assert layer.states is None
    first = model(X)
    assert not torch.allclose(model(X), first)
    layer.reset_state()
    torch.testing.assert_close(model(X), first)


def test_a_stateful_layer_goes_on_from_batch_to_batch_in_fit():
    """Beside a loop by hand: Keras 3.15.1 changes its states in place on torch, and fit fails."""
    model = penalize.Sequential([layers.LSTM(3, stateful=True), layers.Dense(1)])
    model.compile(penalize.optimizers.SGD(0.1), "mse")
    x, y = np.concatenate([X, X[::-1]]), np.ones((6, 1))
    # Building on the first batch leaves no states behind.
    model.fit(x, y, batch_size=3, epochs=0, verbose=0)
    by_hand = copy.deepcopy(model)
    model.fit(x, y, batch_size=3, shuffle=False, validation_data=(x, y), verbose=0)
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    for part in (X, X[::-1].copy()):
        optimizer.zero_grad()
        (by_hand(part) - 1).square().mean().backward()
        optimizer.step()
    for got, expected in zip(model.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    # States of the validation before, made in inference mode, do not stop the training.
    model.fit(x, y, batch_size=3, epochs=2, shuffle=False, validation_data=(x, y), verbose=0)


def test_a_stateful_layer_is_copied_with_its_states_and_compiled():
    layer = layers.LSTM(3, stateful=True, activity_regularizer="l2")
    layer(X)
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    torch.compiler.reset()
    compiled = torch.compile(copy.deepcopy(layer), fullgraph=True, backend="aot_eager")
    for _ in range(2):
        expected = layer(torch.tensor(X))
        for other in [*copies, compiled]:
            torch.testing.assert_close(other(torch.tensor(X)), expected)
    assert "states" not in "".join(layer.state_dict())


@pytest.mark.parametrize("kind", KINDS)
def test_recurrent_dropout_is_one_mask_a_sequence_of_the_right_rate(kind):
    layer = getattr(layers, kind)(64, recurrent_dropout=0.25)
    x = torch.randn(32, 5, 4)
    layer(x)
    seen = []
    step = layer.cell.step
    layer.cell.step = lambda inputs, hidden, states: (seen.append(hidden), step(inputs, hidden, states))[1]
    layer(x)
    # The first state is all zeros; SimpleRNN, LSTM and GRU give no other exact zero.
    dropped = [hidden == 0 for hidden in seen[1:]]
    assert len(dropped) == 4
    assert all(torch.equal(one, dropped[0]) for one in dropped)
    assert dropped[0].float().mean().item() == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize("sequences", [False, True])
def test_activity_of_stacked_cells_is_one_entry_each_masked_and_compiled(sequences):
    cells = [layers.LSTMCell(3, activity_regularizer="l1"), layers.GRUCell(2, activity_regularizer="l2")]
    layer = layers.RNN(cells, return_sequences=sequences, activity_regularizer="l1")
    output = layer(torch.tensor(X))
    losses = layer.losses
    assert len(losses) == 3
    for value in (0.01 * output.abs().sum() / 3, 0.01 * output.square().sum() / 3):
        assert any(torch.isclose(loss, value) for loss in losses)
    torch.compiler.reset()
    torch.compile(layer, fullgraph=True, backend="aot_eager")(torch.tensor(X))
    torch.testing.assert_close(layer.losses, losses)
    layer(torch.tensor(X), mask=torch.tensor(MASK))
    assert len(layer.losses) == 3


def test_cells_that_fail_pay_again_in_the_next_call():
    cell = layers.GRUCell(2, activity_regularizer="l2")
    layer = layers.RNN(cell)
    layer(X)
    with pytest.raises(ShapeError, match="the last axis of the inputs must be 4"):
        layer(X[..., :3])
    layer(X)
    assert len(layer.losses) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_vmap_over_stacked_weights_gives_what_each_set_gives(kind):
    layer = getattr(layers, kind)(3, kernel_regularizer="l2")
    layer(X)
    both = {name: torch.stack([weight, 2 * weight]) for name, weight in layer.named_parameters()}
    x = torch.tensor(X)

    def run(weights):
        output = torch.func.functional_call(layer, weights, (x,))
        return output, 0.01 * weights["cell.weight_ih"].square().sum()

    outputs, penalties = torch.func.vmap(run)(both)
    for index in (0, 1):
        own = {name: stacked[index] for name, stacked in both.items()}
        torch.testing.assert_close(outputs[index], run(own)[0])
        assert penalties[index].item() == pytest.approx(0.01 * own["cell.weight_ih"].square().sum().item())


def test_torch_func_grad_of_output_and_weights_is_backwards():
    layer = layers.GRU(3)
    layer(X)
    weights = {name: weight.detach() for name, weight in layer.named_parameters()}
    grads = torch.func.grad(lambda w: torch.func.functional_call(layer, w, (torch.tensor(X),)).sum())(weights)
    layer(torch.tensor(X)).sum().backward()
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(grads[name], parameter.grad)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_bound_penalties_in_mixed_precision_are_those_of_the_float32_weights(kind):
    layer = getattr(layers, kind)(3, dtype="mixed_bfloat16", **PENALIZED)
    layer(X)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
    penalties = penalize.attach(layer)
    expected = torch.autograd.grad(penalties.loss(), list(layer.parameters()))
    penalties.bind(optimizer)
    assert penalties.loss().item() == 0
    optimizer.step()
    for parameter, gradient in zip(layer.parameters(), expected, strict=True):
        assert parameter.grad.dtype == torch.float32
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("nested", [False, True])
def test_time_distributed_hands_in_a_mask_of_inner_steps_as_keras_does(nested):
    def make(library):
        inner = library.layers.LSTM(3)
        inner = library.Sequential([library.layers.Dense(4), inner]) if nested else inner
        return library.Sequential([library.layers.Masking(), library.layers.TimeDistributed(inner)])

    x = np.random.default_rng(3).normal(size=(2, 3, 5, 4)).astype("float32")
    x[0, 1, 2:] = x[1, 0, :2] = 0
    theirs, ours = make(keras), make(penalize)
    theirs(x)
    ours(x)
    ours.set_weights(theirs.get_weights())
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_time_distributed_batch_statistics_leave_inner_padding_out(training):
    x = torch.randn(2, 3, 5, 4)
    x._keras_mask = torch.rand(2, 3, 5) > 0.4
    theirs, ours = (
        library.layers.TimeDistributed(library.layers.BatchNormalization(momentum=0.5)) for library in (keras, penalize)
    )
    expected, got = theirs(x, training=training), ours(x, training=training)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


def test_time_distributed_only_hands_on_a_mask_of_its_own_steps():
    """Keras 3.15.1 hands (batch,) to the layer inside, which fails."""
    x = torch.randn(2, 3, 5, 4)
    layer = layers.TimeDistributed(layers.LSTM(2))
    expected = layer(x)
    x._keras_mask = torch.tensor([[True, True, False], [True, False, False]])
    got = layer(x)
    torch.testing.assert_close(got, expected)
    assert got._keras_mask is x._keras_mask
    with pytest.raises(ShapeError, match=r"mask must begin with the inputs' \(batch, time\), \(2, 3\), got shape"):
        layer(x, mask=torch.ones(2, 4, dtype=torch.bool))
