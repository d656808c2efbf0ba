"""`.keras` files: custom classes, settings of compile, what is refused, and what a failed save leaves."""

import json
import os
import zipfile

import h5py
import keras
import numpy as np
import pytest
import torch
from torch import nn

import penalize
from penalize import layers
from penalize.errors import ArgumentError, ConfigError, FileError, FileFormatError, ShapeError, UnknownNameError
from penalize.models import load_model

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = X.sum(1, keepdims=True)


@pytest.fixture
def model():
    made = penalize.Sequential(
        [
            penalize.Input((4,)),
            layers.Dense(3, "relu", kernel_regularizer="l1", name="first"),
            layers.Dense(1, name="last"),
        ],
        name="small",
    )
    made.compile("adam", "mse", metrics=["mae"])
    return made


def parts(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(path, **members):
    """The same file with other members; None takes one out."""
    held = {**parts(path), **{name.replace("__", "."): content for name, content in members.items()}}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in held.items():
            if content is not None:
                archive.writestr(name, content)
    return path


def edited(path, change):
    config = json.loads(parts(path)["config.json"])
    change(config)
    return rewritten(path, config__json=json.dumps(config))


@penalize.saving.register_serializable(package="test_model_files")
class Cubed(penalize.Regularizer):
    def __init__(self, strength=0.1):
        self.strength = strength

    def __call__(self, x):
        return self.strength * (x.abs() ** 3).sum()

    def get_config(self):
        return {"strength": self.strength}


@penalize.saving.register_serializable(package="test_model_files")
class Scale(penalize.Layer):
    def __init__(self, regularizer=None, **arguments):
        super().__init__(**arguments)
        self.regularizer = penalize.regularizers.get(regularizer)

    def build(self, input_shape):
        self.factor = self.add_weight((input_shape[-1],), "ones", regularizer=self.regularizer, name="factor")
        self.register_buffer("shift", torch.arange(float(input_shape[-1])))

    def call(self, inputs):
        return inputs * self.factor + self.shift


@penalize.saving.register_serializable(package="test_model_files")
class Net(penalize.Model):
    def __init__(self, units=3, **arguments):
        super().__init__(**arguments)
        self.units = units
        self.blocks = [layers.Dense(units, "relu", kernel_regularizer=Cubed(0.2)), layers.Dense(units)]
        self.named = {"head": layers.Dense(1, activity_regularizer="l2")}
        self.scale = Scale("l2", name="scale")

    def call(self, inputs):
        for block in self.blocks:
            inputs = block(inputs)
        return self.named["head"](self.scale(inputs))


def test_subclasses_with_their_own_layers_and_penalties_come_back(tmp_path):
    model = Net(5, name="net")
    model.compile(penalize.optimizers.Adam(0.01), "mse")
    model.fit(X, Y, epochs=2, batch_size=4, verbose=0, shuffle=False)
    model.scale.shift += 1
    model.save(tmp_path / "net.keras")
    other = load_model(tmp_path / "net.keras")
    assert (type(other), other.units, other.name) == (Net, 5, "net")
    np.testing.assert_array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))
    logs = [m.fit(X, Y, epochs=2, batch_size=4, verbose=0, shuffle=False).history for m in (model, other)]
    assert logs[0] == logs[1]
    assert [loss.item() for loss in other.losses] == [loss.item() for loss in model.losses]


def test_custom_objects_stand_in_for_registration(tmp_path):
    class Halved(penalize.Layer):
        def call(self, inputs):
            return inputs / 2

    with pytest.raises(ConfigError, match="'Halved' has no config that could be read back: register it"):
        penalize.Sequential([penalize.Input((4,)), Halved()]).save(tmp_path / "model.keras")
    assert not (tmp_path / "model.keras").exists()
    penalize.saving.register_serializable(package="test_model_files")(Halved)
    penalize.Sequential([penalize.Input((4,)), Halved()]).save(tmp_path / "model.keras")

    def rename(config):
        config["config"]["layers"][1]["registered_name"] = "Elsewhere>Halved"

    path = edited(tmp_path / "model.keras", rename)
    with pytest.raises(
        UnknownNameError, match=r"model\.keras: config\.json: unknown layer 'Elsewhere>Halved'.*registered"
    ):
        load_model(path)
    loaded = load_model(path, custom_objects={"Elsewhere>Halved": Halved})
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), X / 2)
    with pytest.raises(ArgumentError, match="custom_objects must map names to classes or functions"):
        load_model(path, custom_objects={"Halved": 3})


def test_keras_loads_a_registered_twin(tmp_path, model):
    @keras.saving.register_keras_serializable(package="test_model_files", name="Cubed")
    class Twin(keras.regularizers.Regularizer):
        def __init__(self, strength=0.1):
            self.strength = strength

        def __call__(self, x):
            return self.strength * keras.ops.sum(keras.ops.abs(x) ** 3)

        def get_config(self):
            return {"strength": self.strength}

    model.layers[0].kernel_regularizer = Cubed(0.3)
    model.save(tmp_path / "model.keras")
    theirs = keras.saving.load_model(tmp_path / "model.keras")
    assert float(theirs.losses[0].detach()) == pytest.approx(model.losses[0].item(), rel=1e-6)


def test_compile_can_be_left_out(tmp_path, model):
    model.save(tmp_path / "model.keras")
    assert load_model(tmp_path / "model.keras", compile=False).optimizer is None
    loaded = load_model(tmp_path / "model.keras")
    assert loaded.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": torch.optim.SGD, "loss": "mse"}, "the optimizer TorchOptimizer.SGD. is torch's"),
        (
            {"optimizer": "sgd", "loss": torch.nn.L1Loss()},
            "small: the settings of compile are not saved: .*register it",
        ),
        ({"optimizer": "sgd", "loss": lambda y, p: (y - p).abs()}, "'<lambda>' has no config"),
        ({"optimizer": "sgd", "loss": "mse", "metrics": [lambda y, p: y - p]}, "'<lambda>' has no config"),
    ],
)
def test_what_compile_was_given_and_cannot_be_read_back_is_left_out(arguments, message, tmp_path, model):
    model.compile(**arguments)
    with pytest.warns(UserWarning, match=message):
        model.save(tmp_path / "model.keras")
    assert load_model(tmp_path / "model.keras")._optimizer_spec is None


def test_settings_of_compile_that_do_not_fit_are_named(tmp_path, model):
    model.save(tmp_path / "model.keras")
    for key, value, message in (
        ("loss_weights", [1.0], r"loss_weights=\[1.0\] is not supported; load with compile=False"),
        ("loss", {"out": "mse"}, "class_name.*load with compile=False"),
        ("metrics", "mae", "metrics must be a list, got 'mae'"),
        ("optimizer", {"class_name": "Adamm", "config": {}}, "unknown optimizer 'Adamm': did you mean 'Adam'"),
        ("optimizer", None, "there is no optimizer; load with compile=False"),
        ("schedule", 1, "unknown key 'schedule'"),
    ):
        path = edited(tmp_path / "model.keras", lambda config: config["compile_config"].update({key: value}))  # noqa: B023
        with pytest.raises(ConfigError, match=f"config.json: the settings of compile: .*{message}"):
            load_model(path)
        load_model(path, compile=False)
        model.save(tmp_path / "model.keras")


def test_an_optimizer_whose_states_do_not_fit_begins_anew_and_says_so(tmp_path, model):
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.keras")
    path = edited(
        tmp_path / "model.keras", lambda c: c["compile_config"]["optimizer"].update(class_name="SGD", config={})
    )
    with pytest.warns(UserWarning, match="the optimizer begins anew: the file holds 10 states, and it has 2"):
        assert load_model(path).optimizer.param_groups[0].get("iterations", 0) == 0


def test_saving_over_a_file_is_whole_or_nothing(tmp_path, model, monkeypatch):
    path = tmp_path / "model.keras"
    model.save(path)
    before = path.read_bytes()
    with pytest.raises(FileError, match="model.keras: exists already; pass overwrite=True"):
        model.save(path, overwrite=False)
    model.layers[0].kernel_regularizer = lambda w: w.sum()
    with pytest.raises(ConfigError, match="first: kernel_regularizer: '<lambda>' has no config"):
        model.save(path)
    model.layers[0].kernel_regularizer = None

    def failing(*_, **__):
        raise RuntimeError("no room")

    monkeypatch.setattr("penalize.saving.keras_files.write_weights", failing)
    with pytest.raises(RuntimeError, match="no room"):
        model.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]


def test_what_cannot_be_saved(tmp_path, model):
    for name in ("model", "model.h5", "model.pt"):
        with pytest.raises(ArgumentError, match=r"a model is saved as \.keras, got .*save_weights"):
            model.save(tmp_path / name)
    with pytest.raises(FileError, match="nowhere"):
        model.save(tmp_path / "nowhere" / "model.keras")
    for path in (3, None, b"model.keras"):
        with pytest.raises(ArgumentError, match="a path is a string or a Path, got (int|NoneType|bytes): "):
            model.save(path)
        with pytest.raises(ArgumentError, match="a path is a string or a Path, got (int|NoneType|bytes): "):
            load_model(path)
    for thing in (3, nn.Linear(4, 2), model.layers[0]):
        with pytest.raises(ArgumentError, match=r"a Model is saved as \.keras, got (int|Linear|Dense)"):
            penalize.saving.save_model(thing, tmp_path / "model.keras")
    unbuilt = penalize.Sequential([layers.Dense(2, name="d")])
    with pytest.raises(penalize.errors.NotBuiltError, match="d is not built"):
        unbuilt.save(tmp_path / "model.keras")
    plain = penalize.Sequential([penalize.Input((4,)), nn.Linear(4, 2)])
    with pytest.raises(ConfigError, match="Linear is no Layer, and has no config"):
        plain.save(tmp_path / "model.keras")
    assert list(tmp_path.iterdir()) == []


def test_a_layer_that_stands_in_two_models_has_no_place_in_a_file(tmp_path):
    inputs = penalize.Input((4,))
    shared = layers.Dense(4, name="shared")
    inner = penalize.Sequential([penalize.Input((4,)), shared, shared], name="inner")
    over_steps = layers.TimeDistributed(shared, name="over_steps")
    for inside in (inner(inputs), layers.Flatten()(over_steps(layers.Reshape((1, 4))(inputs)))):
        model = penalize.Model(inputs, layers.Add()([inside, shared(inputs)]), name="outer")
        for act in (model.to_json, lambda: model.save(tmp_path / "model.keras")):  # noqa: B023
            with pytest.raises(
                ConfigError,
                match=r"outer: shared stands in outer and in (inner|over_steps): two layers would come back",
            ):
                act()
    assert list(tmp_path.iterdir()) == []
    encoder = penalize.Model(inputs, shared(inputs), name="encoder")
    penalize.Model(inputs, layers.Dense(2)(encoder(encoder(inputs)))).save(tmp_path / "model.keras")
    load_model(tmp_path / "model.keras")


def test_what_stands_for_a_path_is_one(tmp_path, model):
    model.save(tmp_path / "model.keras")
    (entry,) = os.scandir(tmp_path)
    model.save(entry)
    assert load_model(entry).name == "small"


def test_files_that_are_no_models(tmp_path, model):
    path = tmp_path / "model.keras"
    with pytest.raises(FileError, match=r"model\.keras: No such file"):
        load_model(path)
    path.write_bytes(b"PK")
    with pytest.raises(FileFormatError, match=r"model\.keras: no zip file, or a broken one"):
        load_model(path)
    model.save(path)
    with pytest.raises(FileFormatError, match=r"there is no member 'model\.weights\.h5'"):
        load_model(rewritten(path, model__weights__h5=None))
    model.save(path)
    with pytest.raises(FileFormatError, match=r"'model\.weights\.npz' does not belong into a \.keras file"):
        load_model(rewritten(path, model__weights__npz=b"x"))
    model.save(path)
    with pytest.raises(ConfigError, match=r"config\.json: .*no JSON"):
        load_model(rewritten(path, config__json=b"{"))
    model.save(path)
    with pytest.raises(ConfigError, match="it describes a Dense, which is no Model"):
        load_model(rewritten(path, config__json=json.dumps(layers.serialize(layers.Dense(3)))))


def test_weights_that_do_not_fit_the_config(tmp_path, model):
    model.save(tmp_path / "model.keras")
    path = edited(tmp_path / "model.keras", lambda c: c["config"]["layers"][2]["config"].update(units=2))
    with pytest.raises((ShapeError, ConfigError), match=r"model\.keras: .*last\.kernel.*\(3, 2\)"):
        load_model(path)
    model.save(tmp_path / "model.keras")
    path = edited(tmp_path / "model.keras", lambda c: c["config"]["layers"][2]["config"].update(use_bias=False))
    with pytest.raises(ShapeError, match="'layers/dense_1/vars/1': not in the model"):
        load_model(path)


def test_strengths_of_older_keras_are_told(tmp_path, model):
    model.layers[0].activity_regularizer = "l1"
    model.save(tmp_path / "model.keras")
    rewritten(tmp_path / "model.keras", metadata__json=b'{"keras_version": "3.13.1"}')
    with pytest.warns(UserWarning, match=r"Keras 3\.13\.1 did not divide activity penalties by the batch size"):
        load_model(tmp_path / "model.keras")


def test_json_holds_no_weights_and_names_what_fails(model):
    again = penalize.models.model_from_json(model.to_json())
    assert again.layers[0].kernel_regularizer.l1 == 0.01
    inputs = penalize.Input((4,))
    with pytest.raises(ConfigError, match="the function 'relu' has no config: call it in a Layer"):
        penalize.Model(inputs, torch.relu(inputs)).to_json()
    functional = penalize.Model(inputs, layers.Dense(1)(inputs))
    functional.add_loss(inputs.sum())
    with pytest.raises(ConfigError, match="add_loss of a symbolic tensor has no place in a config"):
        functional.to_json()
    with pytest.raises(ConfigError, match="is called with ndarray|is called with Tensor"):
        penalize.Model(inputs, inputs * np.ones(4, "float32")).to_json()


def broken_graphs():
    inputs = penalize.Input((4,), name="in")
    hidden = layers.Dense(3, name="hidden")(inputs)
    config = json.loads(penalize.Model(inputs, layers.Dense(1, name="out")(hidden), name="net").to_json())

    def with_history(place, value):
        changed = json.loads(json.dumps(config))
        call = changed["config"]["layers"][place]["inbound_nodes"][0]
        call["args"][0]["config"]["keras_history"] = value
        return changed

    yield with_history(1, ["out", 0, 0]), "the layers call each other in a cycle"
    yield with_history(1, ["nobody", 0, 0]), "there is no call 0 of a layer 'nobody'"
    yield with_history(1, ["in", 0, 5]), "there is no output 5 of call 0 of 'in'"
    yield with_history(1, ["in", True, 0]), r"keras_history is \[layer, call, position\]"
    changed = json.loads(json.dumps(config))
    changed["config"]["layers"][1]["name"] = "out"
    yield changed, "two layers are named 'out'|is named 'hidden' in its own config"
    changed = json.loads(json.dumps(config))
    changed["config"]["layers"][2]["inbound_nodes"][0]["args"].append({"class_name": "__numpy__", "config": {}})
    yield changed, "'__numpy__' cannot be an argument of a call"
    changed = json.loads(json.dumps(config))
    changed["config"]["output_layers"] = ["out", 0]
    yield changed, r"a tensor is \[layer, call, position\]"
    changed = json.loads(json.dumps(config))
    del changed["config"]["input_layers"]
    yield changed, "the config has no 'input_layers'"


@pytest.mark.parametrize(("config", "message"), list(broken_graphs()), ids=range(8))
def test_graphs_that_do_not_hold_together(config, message):
    with pytest.raises(ConfigError, match=f"net: .*({message})|net: {message}"):
        penalize.models.model_from_json(json.dumps(config))


def test_a_legacy_file_that_names_a_layer_twice_is_refused(tmp_path):
    theirs = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="a"), keras.layers.Dense(4, name="b")])
    theirs.save(tmp_path / "model.h5")
    load_model(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        file["model_weights"].attrs["layer_names"] = ["a", "a"]
    with pytest.raises(FileFormatError, match=r"model\.h5: layer_names names a layer twice"):
        load_model(tmp_path / "model.h5")
