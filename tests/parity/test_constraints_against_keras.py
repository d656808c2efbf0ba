"""The constraints against Keras's: values over ranks and axes, names, defaults and configs."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import inspect
import json

import keras
import pytest
import torch

from penalize import constraints
from penalize.registry import built_ins

# Keras itself sets this off on NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

# The shape of a weight, and the axes to take its norms over.
PLACES = [
    ((7,), [0, -1, None]),
    ((5, 4), [0, 1, -1, (0, 1), None]),
    ((3, 4, 5), [0, 1, -1, (0, 1), (0, -1), (0, 1, 2)]),
    ((3, 2, 4, 5), [0, -1, (0, 1), (-2, 0), (0, 1, 2), [0, 1, 2], None]),
]
MEASURING = [
    ("MaxNorm", {}),
    ("MaxNorm", {"max_value": 0.7}),
    ("UnitNorm", {}),
    ("MinMaxNorm", {}),
    ("MinMaxNorm", {"min_value": 1.5, "max_value": 2.0}),
    ("MinMaxNorm", {"min_value": 0.5, "max_value": 1.5, "rate": 0.3}),
]
CASES = [
    (name, {**arguments, "axis": axis}, shape)
    for name, arguments in MEASURING
    for shape, axes in PLACES
    for axis in axes
]
CASES += [("NonNeg", {}, shape) for shape, _ in PLACES]


def weight(shape):
    w = torch.randn(shape) * 2
    w[..., 0] = 0.0  # a zero column, over every axis but the last
    return w


@pytest.mark.parametrize(("name", "arguments", "shape"), CASES)
def test_values_are_keras_s(name, arguments, shape):
    w = weight(shape)
    ours = getattr(constraints, name)(**arguments)(w)
    theirs = getattr(keras.constraints, name)(**arguments)(w)
    assert ours.dtype == theirs.dtype
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "arguments"), [*MEASURING, ("NonNeg", {})])
@pytest.mark.parametrize("value", [0.0, 1e-8, 1e-3, 1e4])
def test_small_zero_and_large_weights_are_keras_s(name, arguments, value):
    w = torch.full((4, 3), value)
    ours = getattr(constraints, name)(**arguments)(w)
    torch.testing.assert_close(ours, getattr(keras.constraints, name)(**arguments)(w), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [*MEASURING, ("NonNeg", {}), ("MaxNorm", {"max_value": 3, "axis": (0, 1, 2)}), ("UnitNorm", {"axis": None})],
)
def test_configs_are_keras_s(name, arguments):
    ours = constraints.serialize(getattr(constraints, name)(**arguments))
    theirs = keras.constraints.serialize(getattr(keras.constraints, name)(**arguments))
    assert json.dumps(ours) == json.dumps(theirs)
    assert constraints.serialize(constraints.deserialize(theirs)) == ours
    assert keras.constraints.deserialize(json.loads(json.dumps(ours))).get_config() == json.loads(
        json.dumps(theirs["config"])
    )


@pytest.mark.parametrize("axis", [0, (0, 1)])
def test_a_constraint_in_the_config_of_a_keras_layer_is_read(axis):
    layer = keras.layers.Dense(2, kernel_constraint=keras.constraints.MaxNorm(3, axis))
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))["config"]["kernel_constraint"]
    assert constraints.get(config).get_config() == {"max_value": 3, "axis": axis}


@pytest.mark.parametrize("entry", list(built_ins("constraint")), ids=lambda entry: entry.class_name)
def test_arguments_and_defaults_are_keras_s(entry):
    theirs = getattr(keras.constraints, entry.class_name)
    if entry.class_name == "NonNeg":
        assert theirs().get_config() == entry.factory().get_config() == {}
        return
    ours = {key: parameter.default for key, parameter in inspect.signature(entry.factory).parameters.items()}
    assert ours == {key: parameter.default for key, parameter in inspect.signature(theirs).parameters.items()}


def test_every_name_that_keras_has_is_known():
    for name in dir(keras.constraints):
        if not name.startswith("_"):
            assert hasattr(constraints, name), name
    for name in ("max_norm", "MaxNorm", "non_neg", "NonNeg", "unit_norm", "min_max_norm", "MinMaxNorm"):
        for identifier in (name, {"class_name": name, "config": {}}):
            ours, theirs = constraints.get(identifier), keras.constraints.get(identifier)
            assert type(ours).__name__ == type(theirs).__name__
            assert ours.get_config() == theirs.get_config()
    for name in ("maxnorm", "nonneg", "unitnorm"):
        with pytest.raises(ValueError, match="Could not interpret constraint identifier"):
            keras.constraints.get(name)
