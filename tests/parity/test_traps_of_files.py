"""The traps of Keras 3.15.1 about files, by number: what Keras does (run here, on torch) and what penalize does."""

import json
import warnings
import zipfile

import keras
import numpy as np
import pytest

import penalize
from penalize import layers
from penalize.errors import ArgumentError, ConfigError
from penalize.models import clone_model, load_model

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")


class Unwritten(keras.regularizers.Regularizer):
    def __call__(self, x):
        return keras.ops.sum(x)


class Ours(penalize.Regularizer):
    def __call__(self, x):
        return x.sum()


def dense(library, **arguments):
    return library.Sequential([library.Input((4,)), library.layers.Dense(1, **arguments)])


def test_t14_a_save_that_fails_leaves_the_old_file(tmp_path):
    theirs, ours = tmp_path / "theirs.keras", tmp_path / "ours.keras"
    dense(keras).save(theirs)
    with pytest.raises(NotImplementedError, match="get_config"):
        dense(keras, kernel_regularizer=Unwritten()).save(theirs)
    assert theirs.stat().st_size == 0
    dense(penalize).save(ours)
    before = ours.read_bytes()
    with pytest.raises(
        ConfigError, match="kernel_regularizer: 'Ours' has no config that could be read back: register it"
    ):
        dense(penalize, kernel_regularizer=Ours()).save(ours)
    assert ours.read_bytes() == before


def test_t15_functions_are_refused_when_saving_and_copied_when_cloning(tmp_path):
    def own(weights):
        return abs(weights).sum()

    theirs = dense(keras, kernel_regularizer=own)
    theirs.save(tmp_path / "theirs.keras")
    with pytest.raises(TypeError, match="Could not (locate|interpret)|could not be deserialized"):
        keras.models.load_model(tmp_path / "theirs.keras")
    with pytest.raises(TypeError, match="Could not (locate|interpret)|could not be deserialized"):
        keras.models.clone_model(theirs)
    ours = dense(penalize, kernel_regularizer=own)
    with pytest.raises(ConfigError, match="'own' has no config that could be read back"):
        ours.save(tmp_path / "ours.keras")
    clone = clone_model(ours)
    assert clone.losses[0].item() == pytest.approx(clone.layers[0].weight.abs().sum().item())


@pytest.mark.parametrize("loss", ["mse", "MSE", "mae", "kld"])
def test_t29_legacy_files_of_models_with_short_names_of_losses_load_compiled(loss, tmp_path):
    theirs = dense(keras)
    theirs.compile("sgd", loss)
    theirs.save(tmp_path / "model.h5")
    with pytest.raises(ValueError, match="Could not deserialize"):
        keras.models.load_model(tmp_path / "model.h5")
    ours = load_model(tmp_path / "model.h5")
    y = np.full((8, 1), 0.5, "float32")
    assert ours.evaluate(X, y, verbose=0) == pytest.approx(theirs.evaluate(X, y, verbose=0), rel=1e-5, abs=1e-6)


def test_t30_files_name_optimizers_as_every_backend_knows_them(tmp_path):
    assert (
        keras.optimizers.serialize(keras.optimizers.Adam())["module"] == "keras.src.backend.torch.optimizers.torch_adam"
    )
    model = dense(penalize)
    model.compile("adam", "mse")
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        config = json.loads(archive.read("config.json"))
    assert config["compile_config"]["optimizer"]["module"] == "keras.optimizers"
    theirs = keras.models.load_model(tmp_path / "model.keras")
    assert type(theirs.optimizer).__name__ == "Adam"


def test_t31_a_layer_that_stands_twice_is_applied_twice(tmp_path):
    def twice(library):
        layer = library.layers.Dense(4)
        return library.Sequential([library.Input((4,)), layer, layer])

    theirs, ours = twice(keras), twice(penalize)
    theirs.save(tmp_path / "theirs.keras")
    ours.save(tmp_path / "ours.keras")
    assert len(keras.models.load_model(tmp_path / "theirs.keras").layers) == 1
    loaded = load_model(tmp_path / "ours.keras")
    assert len(loaded.layers) == 2
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), ours.predict(X, verbose=0))


def test_t45_strengths_from_before_the_division_by_the_batch_are_told(tmp_path):
    model = dense(penalize, activity_regularizer="l2")
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for version, told in (("3.13.0", True), ("3.0.5", True), ("3.14.0", False), ("3.15.1", False)):
        with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
            for name, content in {**members, "metadata.json": json.dumps({"keras_version": version})}.items():
                archive.writestr(name, content)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            load_model(tmp_path / "model.keras")
        assert any("did not divide activity penalties" in str(w.message) for w in caught) is told
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            keras.models.load_model(tmp_path / "model.keras")
        assert not any("activity" in str(w.message) for w in caught)


# Keys that Keras before 3.15 does not know, in layers that it has.
NEW_KEYS = ("quantization_config", "use_gate", "sliding_window", "input_axes", "output_axes")


@pytest.mark.parametrize(
    "layer",
    [
        layers.Dense(2),
        layers.Embedding(3, 2),
        layers.Conv2D(2, 3, kernel_initializer="he_normal"),
        layers.MultiHeadAttention(2, 3),
        layers.GroupQueryAttention(3, 4, 2),
        layers.LSTM(2),
    ],
)
def test_t46_configs_have_no_keys_that_older_versions_refuse(layer):
    text = json.dumps(layers.serialize(layer))
    assert [key for key in NEW_KEYS if f'"{key}"' in text] == []


def test_t47_a_save_that_fails_leaves_nothing_that_looks_like_a_file(tmp_path):
    model = dense(keras, kernel_regularizer=Unwritten())
    with pytest.raises(NotImplementedError, match="get_config"):
        model.save(tmp_path / "theirs.h5")
    assert (tmp_path / "theirs.h5").stat().st_size > 0
    with pytest.raises(ConfigError, match="register it"):
        dense(penalize, kernel_regularizer=Ours()).save(tmp_path / "ours.keras")
    with pytest.raises(ArgumentError, match="a model is saved as .keras"):
        dense(penalize).save(tmp_path / "ours.h5")
    assert not list(tmp_path.glob("*ours*"))
