"""Masks: which layers use them, hand them on or drop them, beside Keras; and what an activity penalty makes of them."""

import keras
import numpy as np
import pytest
import torch
from tests.parity.layer_table import CASES

import penalize
from penalize import layers
from penalize.errors import ShapeError
from penalize.masks import mask_of, masks_of

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


MERGING = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Identity", "InputLayer")
ELSEWHERE = {
    "Dot": (1,),
    "Lambda": (abs,),
    "LSTMCell": (2,),
    "GRUCell": (2,),
    "SimpleRNNCell": (2,),
    "InputLayer": ((3,),),
}


def test_all_other_layers_that_both_have_support_masks_alike():
    def classes(library):
        return {name for name, value in vars(library.layers).items() if isinstance(value, type)}

    others = {name for name in classes(penalize) & classes(keras) if name not in CASES}
    # Other names of layers in the table, and those that wrap others.
    others = {name for name in others if getattr(layers, name).__name__ == name}
    others -= {"TorchModuleWrapper", "StackedRNNCells"}
    for name in others:
        ours, theirs = (getattr(library.layers, name)(*ELSEWHERE.get(name, ())) for library in (penalize, keras))
        assert ours.supports_masking == theirs.supports_masking, name
    assert others >= set(MERGING)


@pytest.mark.parametrize(
    "make",
    [
        lambda library: library.layers.GRU(3, return_sequences=True),
        lambda library: library.layers.Bidirectional(library.layers.LSTM(3, return_sequences=True)),
        lambda library: library.layers.BatchNormalization(),
    ],
)
def test_an_explicit_mask_is_handed_on_as_in_keras(make):
    for layer in (make(keras), make(penalize)):
        output = layer(torch.tensor(X), mask=MASK)
        assert torch.equal(of_keras(output), MASK)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("rank", [3, 4])
def test_masked_batch_statistics_along_any_axis_are_kerass(axis, rank):
    x = torch.randn(4, 3, 2, 5)[..., 0] if rank == 3 else torch.randn(4, 3, 2, 5)
    mask = torch.rand(x.shape[:-1]) > 0.4
    theirs, ours = (library.layers.BatchNormalization(axis=axis, momentum=0.5) for library in (keras, penalize))
    for layer in (theirs, ours):
        layer(masked(x.numpy(), mask), training=True)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axis", [-1, (1, 2)])
def test_softmax_of_what_is_masked_as_a_whole_is_zero(axis):
    x, keep = torch.randn(2, 3, 4), torch.rand(2, 3, 4) > 0.5
    keep[0] = False
    got, expected = (library.layers.Softmax(axis=axis)(x, mask=keep) for library in (penalize, keras))
    torch.testing.assert_close(got, expected)
    assert (got[~keep] == 0).all()


@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 3, 3)])
def test_softmax_takes_the_mask_of_its_input_by_its_first_axes(shape):
    """Keras 3.15.1 refuses such masks, or, where the sizes allow it, takes their last axis for that of the inputs."""
    x, mask = torch.randn(shape), torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1]], dtype=torch.bool)[: shape[0]]
    output = layers.Softmax()(masked(x.numpy(), mask))
    torch.testing.assert_close(output, x.softmax(-1) * mask[..., None])
    assert torch.equal(mask_of(output), mask)
    with pytest.raises(ShapeError, match=r"softmax.*: mask must broadcast to the inputs, got shapes \(5,\) and"):
        layers.Softmax()(x, mask=torch.ones(5, dtype=torch.bool))


@pytest.mark.parametrize("options", [{}, {"keepdims": True}, {"data_format": "channels_first"}])
def test_masked_means_over_time_are_kerass(options):
    x = torch.tensor(X)
    x = x.transpose(1, 2) if options.get("data_format") else x
    got, expected = (library.layers.GlobalAveragePooling1D(**options)(x, mask=MASK) for library in (penalize, keras))
    torch.testing.assert_close(got, expected)


def test_a_mean_over_nothing_but_padding_is_zero():
    """Keras 3.15.1 gives nan."""
    assert (layers.GlobalAveragePooling1D()(torch.tensor(X), mask=torch.zeros_like(MASK)) == 0).all()


def test_a_mask_survives_the_cast_to_another_dtype():
    model = penalize.Sequential([penalize.Input((3, 2)), layers.LSTM(3, return_sequences=True)], dtype="float64")
    assert torch.equal(mask_of(model(masked())), MASK)
    model = penalize.Sequential([layers.Dense(3, dtype="mixed_bfloat16"), layers.GRU(2, return_sequences=True)])
    assert torch.equal(mask_of(model(masked())), MASK)


def test_masks_of_nested_inputs_have_their_structure():
    x, bare = masked(), torch.tensor(X)
    assert masks_of([bare, {"a": bare}]) is None
    found = masks_of([bare, {"a": x}])
    assert found[0] is None
    assert found[1]["a"] is MASK


@pytest.mark.parametrize("name", ["MeanSquaredError", "CategoricalCrossentropy", "SparseCategoricalCrossentropy"])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("keep", ["some", "none"])
def test_masked_losses_with_weights_are_kerass(name, reduction, weighted, keep):
    y, mask = torch.softmax(torch.randn(4, 3, 5), -1), MASK if keep == "some" else torch.zeros_like(MASK)
    target = torch.randint(0, 5, (4, 3)) if name.startswith("Sparse") else torch.softmax(torch.randn(4, 3, 5), -1)
    weight = torch.rand(4, 3) if weighted else None
    ours = getattr(penalize.losses, name)(reduction=reduction)(target, masked(y.numpy(), mask), sample_weight=weight)
    # Keras 3.15.1 multiplies the mask into the tensor of weights that it is given.
    theirs = getattr(keras.losses, name)(reduction=reduction)(target, masked(y.numpy(), mask), sample_weight=weight)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_masked_loss_with_one_weight_a_sample():
    """By hand, as Keras 3.15.1 fails at it on torch."""
    y, weight = masked(np.ones((4, 3, 1), "float32")), torch.tensor([1.0, 2.0, 0.5, 0.0])
    expected = (MASK * weight[:, None]).sum() / MASK.sum()
    for given in (weight, weight[:, None]):
        torch.testing.assert_close(penalize.losses.MeanSquaredError()(torch.zeros(4, 3, 1), y, given), expected)


@pytest.mark.parametrize("name", ["SparseCategoricalAccuracy", "SparseCategoricalCrossentropy"])
@pytest.mark.parametrize("weighted", [False, True])
def test_masked_metrics_with_weights_are_kerass(name, weighted):
    y, target = torch.softmax(torch.randn(4, 3, 5), -1), torch.randint(0, 5, (4, 3))
    weight = torch.rand(4, 3) if weighted else None
    ours, theirs = getattr(penalize.metrics, name)(), getattr(keras.metrics, name)()
    ours.update(target, masked(y.numpy()), weight)
    theirs.update_state(target, masked(y.numpy()), weight)
    assert float(ours.compute()) == pytest.approx(float(theirs.result()), rel=1e-5)


@pytest.mark.parametrize("what", [penalize.losses.MeanSquaredError(), penalize.metrics.MeanSquaredError().update])
def test_a_mask_that_the_values_have_no_place_for_is_refused_instead_of_forgotten(what):
    with pytest.raises(ShapeError, match=r"predictions have a mask of shape \(4, 3\), .* the values have shape \(4,\)"):
        what(torch.zeros(4, 3), masked(np.ones((4, 3, 1), "float32")))


def test_a_loss_that_gives_a_single_number_takes_masked_predictions():
    loss = penalize.losses.get(torch.nn.MSELoss())
    torch.testing.assert_close(loss(torch.zeros(4, 3, 2), masked()), torch.tensor(X).square().mean())


@pytest.mark.parametrize("wrapped", [False, True])
def test_mask_activity_of_recurrent_layers_leaves_states_and_padding_out(wrapped):
    inner = layers.GRU(3, return_sequences=True, return_state=True)
    if wrapped:
        layer = layers.Bidirectional(inner, activity_regularizer="l1", mask_activity=True)
    else:
        layer, inner.activity_regularizer, inner.mask_activity = inner, penalize.regularizers.L1(), True
    output = layer(masked())[0]
    expected = 0.01 * (output * MASK[..., None]).abs().sum() / 4
    assert [loss.item() for loss in layer.losses] == [pytest.approx(expected.item())]


def test_mask_activity_without_a_mask_penalizes_everything():
    layer = layers.Dense(2, activity_regularizer="l2", mask_activity=True)
    output = layer(torch.tensor(X))
    assert layer.losses[0].item() == pytest.approx(0.01 * output.square().sum().item() / 4)


def words(library):
    return library.Sequential(
        [
            library.layers.Embedding(5, 4, mask_zero=True),
            library.layers.LSTM(3, return_sequences=True, activity_regularizer="l2"),
            library.layers.BatchNormalization(),
            library.layers.Dropout(0.5),
            library.layers.GlobalAveragePooling1D(),
        ]
    )


WORDS = torch.tensor([[1, 2, 3, 0], [3, 0, 2, 0]])


def test_a_mask_travels_from_embedding_to_pooling_as_in_keras_and_in_one_compiled_graph():
    theirs, ours = words(keras), words(penalize).eval()
    theirs(WORDS)
    ours(WORDS)
    ours.set_weights(theirs.get_weights())
    torch.testing.assert_close(ours(WORDS), theirs(WORDS), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.losses, theirs.losses)
    ours.layers[1].mask_activity = True
    expected, losses = ours(WORDS), ours.losses
    assert losses[0] < theirs.losses[0]
    torch.compiler.reset()
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(WORDS), expected)
    torch.testing.assert_close(ours.losses, losses)
    exported = torch.export.export(ours, (WORDS,), strict=False).module()
    torch.testing.assert_close(exported(WORDS), expected)
