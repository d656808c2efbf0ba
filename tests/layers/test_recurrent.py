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
from penalize.errors import ArgumentError, ShapeError

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
