"""Every layer crosses between penalize and Keras, whole and in parts, and goes on training; see crossing.py."""

import h5py
import numpy as np
import pytest

import penalize
from penalize import layers
from penalize.errors import ShapeError
from tests.parity.layer_table import CASES, keras
from tests.saving.crossing import DIRECTIONS, cross

# The first case of each layer; `python -m tests.saving.crossing` runs all, in all forms.
NAMES = list(CASES)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", NAMES)
def test_whole_models_cross(name, direction):
    figures = cross(name, len(CASES[name]) - 1, direction, ".keras")
    assert max(figures.values()) < 1e-5, figures


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", NAMES)
def test_weights_cross(name, direction):
    figures = cross(name, 0, direction, ".weights.h5", train_too=False)
    assert max(figures.values()) < 1e-5, figures


OPTIMIZERS = {
    "SGD": {},
    "SGD momentum": {"momentum": 0.9, "nesterov": True},
    "RMSprop": {},
    "RMSprop centered": {"momentum": 0.9, "centered": True},
    "Adam": {},
    "Adam amsgrad": {"amsgrad": True},
    "AdamW": {},
    "Adagrad": {},
    "Adadelta": {},
    "Adamax": {},
    "Nadam": {},
    "Lion": {},
}
X = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
Y = np.tanh(X.sum(1, keepdims=True))


def trained(library, name):
    keras.utils.set_random_seed(1)
    model = library.Sequential(
        [
            library.Input((4,)),
            library.layers.Dense(3, "tanh", kernel_regularizer="l2", activity_regularizer="l1", name="first"),
            library.layers.BatchNormalization(gamma_regularizer="l1", name="norm"),
            library.layers.Dense(1, name="last"),
        ]
    )
    model.layers[2].trainable = name != "AdamW"
    optimizer = getattr(library.optimizers, name.split()[0])(0.01, **OPTIMIZERS[name])
    model.compile(
        optimizer, library.losses.MeanSquaredError(), metrics=["mae", library.metrics.BinaryAccuracy(threshold=0.2)]
    )
    model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    return model


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("source", "target"), [(penalize, keras), (keras, penalize)], ids=DIRECTIONS)
def test_training_goes_on_in_the_other_library(name, source, target, tmp_path):
    model = trained(source, name)
    model.save(tmp_path / "model.keras")
    other = target.models.load_model(tmp_path / "model.keras")
    ours, theirs = (model, other) if source is penalize else (other, model)
    assert ours.optimizer.param_groups[0]["iterations"] == int(theirs.optimizer.iterations) == 10
    logs = [m.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0).history for m in (model, other)]
    for key in ("loss", "mae", "binary_accuracy"):
        np.testing.assert_allclose(logs[0][key], logs[1][key], rtol=2e-5)
    np.testing.assert_allclose(model.predict(X, verbose=0), other.predict(X, verbose=0), rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_bit_for_bit_here(name, tmp_path):
    model = trained(penalize, name)
    model.optimizer.param_groups[0]["lr"] = 0.0123456789
    model.save(tmp_path / "model.keras")
    other = penalize.models.load_model(tmp_path / "model.keras")
    logs = [m.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0).history for m in (model, other)]
    assert logs[0] == logs[1]
    for got, expected in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_an_optimizer_of_keras_that_made_no_step_is_read_without_a_warning(name, tmp_path):
    theirs = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    theirs.compile(keras.optimizers.Adam(0.02), "mean_squared_error")
    theirs.save(tmp_path / name)
    ours = penalize.models.load_model(tmp_path / name)
    assert ours.optimizer.param_groups[0]["lr"] == pytest.approx(0.02)
    ours.fit(X, X[:, :1], verbose=0)


def test_legacy_files_of_keras_are_read(tmp_path):
    model = trained(keras, "Adam")
    model.save(tmp_path / "model.h5")
    ours = penalize.models.load_model(tmp_path / "model.h5")
    logs = [m.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0).history for m in (model, ours)]
    np.testing.assert_allclose(logs[0]["loss"], logs[1]["loss"], rtol=1e-5)
    fresh = penalize.models.clone_model(ours)
    assert fresh.load_weights(tmp_path / "model.h5") == []
    np.testing.assert_array_equal(fresh.get_weights()[0], model.get_weights()[0] * 0 + fresh.get_weights()[0])


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "Bidirectional", "MultiHeadAttention", "SeparableConv2D", "nested"])
def test_legacy_files_of_other_layers(kind, tmp_path):
    def made(library):
        inputs = library.Input((6, 4) if kind != "SeparableConv2D" else (6, 6, 2))
        each = library.layers
        if kind == "Bidirectional":
            outputs = each.Bidirectional(each.LSTM(3, kernel_regularizer="l2"))(inputs)
        elif kind == "MultiHeadAttention":
            outputs = each.MultiHeadAttention(2, 3)(inputs, inputs)
        elif kind == "SeparableConv2D":
            outputs = each.SeparableConv2D(3, 2)(inputs)
        elif kind == "nested":
            part = library.Sequential([library.Input((6, 4)), each.Dense(3), each.BatchNormalization(), each.Dense(2)])
            outputs = part(inputs)
        else:
            outputs = getattr(each, kind)(3, recurrent_regularizer="l1")(inputs)
        return library.Model(inputs, outputs)

    keras.utils.set_random_seed(1)
    model = made(keras)
    model.save(tmp_path / "model.h5")
    ours = penalize.models.load_model(tmp_path / "model.h5")
    x = np.random.default_rng(0).normal(size=(3, *model.input_shape[1:])).astype("float32")
    np.testing.assert_allclose(ours.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-4, atol=1e-6)


def test_legacy_weights_that_a_model_holds_itself_are_read(tmp_path):
    def made(library):
        class Scaled(library.Model):
            def __init__(self):
                super().__init__(name="scaled")
                self.dense = library.layers.Dense(2, name="dense")
                self.scale = self.add_weight(shape=(2,), initializer="ones", name="scale")

            def call(self, inputs):
                return self.dense(inputs) * self.scale

        model = Scaled()
        model(X)
        return model

    ours, theirs = made(penalize), made(keras)
    theirs.scale.assign([2.0, 3.0])
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        keras.src.legacy.saving.legacy_h5_format.save_weights_to_hdf5_group(file, theirs)
    assert ours.load_weights(path) == []
    np.testing.assert_array_equal(ours.scale.detach().numpy(), [2, 3])
    np.testing.assert_allclose(ours.predict(X, verbose=0), theirs.predict(X, verbose=0), rtol=1e-5, atol=1e-6)
    with h5py.File(path, "r+") as file:
        del file["top_level_model_weights"]
    with pytest.raises(ShapeError, match="weights of scaled: expected 1, found 0"):
        ours.load_weights(path)


def test_several_inputs_outputs_operators_and_shared_layers_cross(tmp_path):
    def made(library):
        a, b = library.Input((4,), name="a"), library.Input((4,), name="b")
        shared = library.layers.Dense(3, "relu", kernel_regularizer="l1", activity_regularizer="l2", name="shared")
        both = (shared(a) * 2 - shared(b)) / 3 + 1
        steps = library.layers.Reshape((3, 1), name="steps")(both[:, 0:3])
        _, state, carry = library.layers.LSTM(2, return_state=True, name="lstm")(steps)
        again = library.layers.LSTM(2, name="again")(steps, initial_state=[state, carry])
        nested = library.Sequential([library.Input((2,)), library.layers.Dense(2, name="in")], name="nested")
        return library.Model({"a": a, "b": b}, {"mean": nested(again), "raw": both}, name="both")

    x = {"a": X[:5], "b": X[5:10]}
    for source, target in ((penalize, keras), (keras, penalize)):
        model = made(source)
        model.save(tmp_path / "model.keras")
        other = target.models.load_model(tmp_path / "model.keras")
        expected, got = (each.predict(x, verbose=0) for each in (model, other))
        assert set(got) == {"mean", "raw"}
        for key in got:
            np.testing.assert_allclose(got[key], expected[key], rtol=1e-5, atol=1e-6)
        sums = [sum(loss.item() for loss in each.losses) for each in (model, other)]
        assert len(model.losses) == len(other.losses) == 3
        np.testing.assert_allclose(*sums, rtol=1e-5)


def test_outputs_of_a_functional_model_inside_another_cross(tmp_path):
    def made(library):
        inside = library.Input((4,), name="inside")
        wide = library.layers.Dense(4, name="wide")(inside)
        inner = library.Model(inside, [wide, library.layers.Dense(2, name="narrow")(wide)], name="inner")
        inputs = library.Input((4,), name="inputs")
        first, second = inner(inputs)
        return library.Model(inputs, [second, inner(first)[1]], name="outer")

    for source, target in ((penalize, keras), (keras, penalize), (penalize, penalize)):
        model = made(source)
        model.save(tmp_path / "model.keras")
        other = target.models.load_model(tmp_path / "model.keras")
        for got, expected in zip(*(each.predict(X, verbose=0) for each in (other, model)), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16", "float16", "float64"])
def test_weights_of_other_dtypes_cross(policy, tmp_path):
    def made(library):
        return library.Sequential([library.Input((4,)), library.layers.Dense(3, dtype=policy, name="dense")], name="m")

    for source, target in ((penalize, keras), (keras, penalize)):
        model = made(source)
        model.save(tmp_path / "model.keras")
        other = target.models.load_model(tmp_path / "model.keras")
        for got, expected in zip(other.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(np.asarray(got, "float64"), np.asarray(expected, "float64"))
        assert other.layers[0].dtype_policy.name == policy


def test_what_keras_forgets_is_kept_here(tmp_path):
    """T06: the activity regularizer of a Sequential; T37: whether it is trainable; T31: a layer that stands twice."""
    twice = layers.Dense(4, name="twice")
    model = penalize.Sequential([penalize.Input((4,)), twice, twice], activity_regularizer="l1", name="whole")
    model.trainable = False
    model.save(tmp_path / "model.keras")
    other = penalize.models.load_model(tmp_path / "model.keras")
    assert (other.trainable, len(other.layers), other.layers[0] is other.layers[1]) == (False, 2, True)
    assert repr(other.activity_regularizer) == "L1(l1=0.01)"
    np.testing.assert_array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))
