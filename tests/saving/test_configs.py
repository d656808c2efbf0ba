"""Configs of layers and models: exact here, and crossing to and from Keras."""

import json

import keras
import numpy as np
import pytest
import torch
from torch import nn

import penalize
from penalize import layers
from penalize.errors import ArgumentError, ConfigError, PenalizeError, StrengthError, UnknownNameError
from penalize.models import model_from_json
from tests.parity.layer_table import CASES, Row, difference, flat, inputs_of

EVERY = [(name, case) for name, cases in CASES.items() for case in range(len(cases))]
# Keras's constructors of these take no activity_regularizer, so that a config with one cannot cross.
WITHOUT_ACTIVITY = ("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "ActivityRegularization")


def made(library, name, case):
    _, given = CASES[name][case]
    arguments = {key: value(library, "float32") if callable(value) else value for key, value in given.items()}
    return getattr(library.layers, name)(**arguments)


def inputs(name, case):
    return inputs_of(Row(name, case, "", None, "float32"), CASES[name][case][0])


@pytest.mark.parametrize(("name", "case"), EVERY)
def test_a_layer_comes_back_from_its_config_the_same(name, case):
    layer, x = made(penalize, name, case), inputs(name, case)
    layer(*x)
    layer.activity_regularizer = "l1"
    for key in type(layer).__dict__:
        if key.endswith("_regularizer"):
            setattr(layer, key, "l2")
    config = json.loads(json.dumps(layers.serialize(layer)))
    again = layers.deserialize(config)
    again(*x)
    again.set_weights(layer.get_weights())
    assert layers.serialize(again) == layers.serialize(layer)
    outputs = [flat(one.eval()(*x)) for one in (layer, again)]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=0)
    torch.testing.assert_close(again.losses, layer.losses, rtol=0, atol=0)
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.parametrize(("name", "case"), EVERY)
def test_keras_reads_the_configs_of_layers_and_we_read_kerass(name, case):
    ours, theirs, x = made(penalize, name, case), made(keras, name, case), inputs(name, case)
    ours(*x)
    theirs(*x)
    if name not in WITHOUT_ACTIVITY:
        ours.activity_regularizer = "l1"
    in_keras = keras.layers.deserialize(json.loads(json.dumps(layers.serialize(ours))))
    here = layers.deserialize(json.loads(json.dumps(keras.layers.serialize(theirs))))
    in_keras(*x)
    here(*x)
    in_keras.set_weights(ours.get_weights())
    here.set_weights(theirs.get_weights())
    for mine, other in ((ours, in_keras), (here, theirs)):
        pairs = zip(flat(mine.eval()(*x)), flat(other(*x)), strict=True)
        assert max(difference(a, b) for a, b in pairs) < 2e-5


def images(library):
    regularizers = library.regularizers
    return library.Sequential(
        [
            library.Input((8, 8, 1)),
            library.layers.Conv2D(3, 3, kernel_regularizer=regularizers.L1(0.1), activity_regularizer="l2"),
            library.layers.Flatten(),
            library.layers.Dense(3, "relu", bias_regularizer=regularizers.L1L2(0.1, 0.2), bias_initializer="ones"),
            library.Sequential([library.layers.Dense(2, name="last", kernel_regularizer="l2")], name="inner"),
        ],
        name="images",
    )


def test_a_sequential_crosses_as_json_both_ways():
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
    ours, theirs = images(penalize), images(keras)
    ours(x)
    theirs(x)
    pairs = (ours, keras.models.model_from_json(ours.to_json())), (model_from_json(theirs.to_json()), theirs)
    for mine, other in pairs:
        mine(x)
        other(x)
        other.set_weights(mine.get_weights())
        np.testing.assert_allclose(mine.predict(x, verbose=0), other.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
        assert len(mine.losses) == len(other.losses) == 4
        mine(x)
        other(x)
        assert sum(mine.losses).item() == pytest.approx(sum(other.losses).item(), rel=1e-5)


def test_what_keras_loses_of_a_sequential_comes_back_here():
    shared = layers.Dense(4, kernel_regularizer=penalize.regularizers.L2(0.1), name="shared")
    model = penalize.Sequential([penalize.Input((4,)), shared, shared], activity_regularizer="l1", name="twice")
    model.trainable = False
    again = model_from_json(model.to_json())
    assert (again.name, again.trainable, again.stack[0] is again.stack[1]) == ("twice", False, True)
    assert again.activity_regularizer.l1 == 0.01
    assert again.stack[0].kernel_regularizer.l2 == 0.1


def test_strengths_and_changed_regularizers_are_exact():
    layer = layers.Dense(2, kernel_regularizer=penalize.regularizers.L1(1e-50))
    layer(np.ones((1, 3), "float32"))
    layer.bias_regularizer = penalize.regularizers.L2(0.1)
    config = layer.get_config()
    assert config["kernel_regularizer"]["config"] == {"l1": 1e-50}
    assert config["bias_regularizer"]["config"] == {"l2": 0.1}


def test_custom_classes_are_registered_or_handed_over():
    @penalize.saving.register_serializable(package="test_configs")
    class Doubled(penalize.Layer):
        def __init__(self, factor=2.0, **arguments):
            super().__init__(**arguments)
            self.factor = factor

        def call(self, inputs):
            return inputs * self.factor

    class Loose(Doubled):
        pass

    def own_penalty(weights):
        return weights.abs().sum()

    model = penalize.Sequential([penalize.Input((2,)), Doubled(3.0, name="d"), layers.Dense(1)])
    again = model_from_json(model.to_json())
    assert (again.layers[0].factor, type(again.layers[0])) == (3.0, Doubled)
    with pytest.raises(ConfigError, match="'Loose' has no config that could be read back: register it with"):
        layers.serialize(Loose())
    with pytest.raises(ConfigError, match="dense.*: kernel_regularizer: 'own_penalty' has no config .*register it"):
        layers.Dense(2, kernel_regularizer=own_penalty).get_config()
    text = model.to_json().replace("test_configs>Doubled", "elsewhere>Doubled")
    with pytest.raises(UnknownNameError, match="elsewhere>Doubled.*must be registered"):
        model_from_json(text)
    customs = {"elsewhere>Doubled": Doubled}
    assert type(model_from_json(text, custom_objects=customs).layers[0]) is Doubled
    with pytest.raises(ConfigError, match="disagree: 'tests.saving.test_configs', 'Other', 'elsewhere>Doubled'"):
        model_from_json(text.replace('"Doubled"', '"Other"'), custom_objects=customs)


BAD = [
    ({"class_name": "Dense", "config": {"units": 10**400}}, "units|characters"),
    ({"class_name": "Dense", "config": {"units": True}}, "units must be an integer >= 1, got True"),
    ({"class_name": "Dense", "config": {"units": 3, "unit": 3}}, "Dense: unknown argument 'unit'"),
    (
        {"class_name": "Dense", "config": {"units": 3, "kernel_regularizer": {"class_name": "Dense"}}},
        "regularizer 'Dense'",
    ),
    ({"class_name": "Dense", "config": {"units": 3, "activation": "os.system"}}, "unknown activation 'os.system'"),
    ({"class_name": "Dense", "module": "os", "config": {"units": 3}}, "module must be 'keras.layers', got 'os'"),
    ({"class_name": "system", "module": "os", "config": {}}, "unknown layer 'system'"),
    (
        {"class_name": "Lambda", "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wA="}}}},
        "function",
    ),
    ({"class_name": ["Dense"], "config": {}}, 'needs a string "class_name"'),
    ({"class_name": "function", "config": "os.system"}, "unknown layer 'os.system'"),
    (
        {"class_name": "TimeDistributed", "config": {"layer": {"class_name": "Lamda", "config": {}}}},
        "unknown layer 'Lamda'",
    ),
    ({"class_name": "LayerNormalization", "config": {"rms_scaling": True}}, "rms_scaling=True is not supported"),
]


@pytest.mark.parametrize(("config", "message"), BAD)
def test_a_config_that_does_not_fit_is_refused(config, message):
    text = json.dumps({"module": "keras", "class_name": "Sequential", "config": {"name": "m", "layers": [config]}})
    with pytest.raises(PenalizeError, match=message):
        model_from_json(text)
    if "10000" not in text:
        with pytest.raises(PenalizeError, match=message):
            layers.deserialize(config)


def test_other_things_than_models_are_refused():
    with pytest.raises(ConfigError, match="it describes a Dense, which is no Model"):
        model_from_json(json.dumps(layers.serialize(layers.Dense(2))))
    with pytest.raises(ConfigError, match="layers must be a list of configs, got str"):
        model_from_json(json.dumps({"class_name": "Sequential", "config": {"layers": "Dense"}}))
    with pytest.raises(ConfigError, match="Linear is no Layer, and has no config"):
        penalize.Sequential([nn.Linear(2, 2)]).to_json()
    twin = penalize.Sequential([layers.Dense(2, name="a"), layers.Dense(3, name="b")]).to_json().replace('"b"', '"a"')
    with pytest.raises(ConfigError, match="two different layers are named 'a'"):
        model_from_json(twin)
    for strength in ("-0.1", '"0.1"', "true", "1e999"):
        text = penalize.Sequential([layers.Dense(2, kernel_regularizer="l2")]).to_json().replace("0.01", strength)
        with pytest.raises(
            (StrengthError, ArgumentError), match="l2 must be a finite real number >= 0|1e999 is too la"
        ):
            model_from_json(text)
