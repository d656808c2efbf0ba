"""The initializers against Keras's: shapes, limits and spreads on large shapes, names and configs."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import inspect

import keras
import numpy as np
import pytest

from penalize import initializers
from penalize.registry import built_ins

# Keras itself sets this off on NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHAPES = [(100, 400), (3, 3, 60, 80), (5, 40, 90), (20000,)]
RANDOM = [
    ("RandomNormal", {}),
    ("RandomNormal", {"mean": 1.0, "stddev": 0.5}),
    ("RandomUniform", {}),
    ("RandomUniform", {"minval": -1.0, "maxval": 3.0}),
    ("TruncatedNormal", {"mean": 1.0, "stddev": 0.5}),
    ("GlorotUniform", {}),
    ("GlorotNormal", {}),
    ("HeUniform", {}),
    ("HeNormal", {}),
    ("LecunUniform", {}),
    ("LecunNormal", {}),
]
RANDOM += [
    ("VarianceScaling", {"scale": 0.7, "mode": mode, "distribution": distribution})
    for mode in ("fan_in", "fan_out", "fan_avg")
    for distribution in ("truncated_normal", "untruncated_normal", "uniform", "normal")
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "arguments"), RANDOM)
def test_draws_are_spread_as_keras_s(name, arguments, shape):
    ours = getattr(initializers, name)(**arguments, seed=1)(shape).numpy()
    theirs = getattr(keras.initializers, name)(**arguments, seed=1)(shape).numpy()
    assert ours.shape == theirs.shape == shape
    assert ours.dtype == theirs.dtype
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.05 * float(theirs.std()))
    assert ours.std() == pytest.approx(theirs.std(), rel=0.03)
    if "untruncated" not in str(arguments) and name != "RandomNormal":
        assert (ours.min(), ours.max()) == pytest.approx((theirs.min(), theirs.max()), abs=0.03 * float(theirs.std()))
    quantiles = np.linspace(0.05, 0.95, 10)
    np.testing.assert_allclose(
        np.quantile(ours, quantiles), np.quantile(theirs, quantiles), atol=0.06 * float(theirs.std())
    )


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("Zeros", {}), ("Ones", {}), ("Constant", {"value": 0.25}), ("Identity", {}), ("Identity", {"gain": 3.0})],
)
def test_constants_are_keras_s(name, arguments):
    for shape in [(3, 5), (5, 3)]:
        ours = getattr(initializers, name)(**arguments)(shape)
        assert ours.tolist() == getattr(keras.initializers, name)(**arguments)(shape).tolist()


def test_a_constant_of_an_array_broadcasts_as_in_keras():
    value = np.array([1.0, 2.0, 3.0])
    theirs = keras.initializers.serialize(keras.initializers.Constant(value))
    assert initializers.deserialize(theirs)((2, 3)).tolist() == keras.initializers.Constant(value)((2, 3)).tolist()
    written = initializers.serialize(initializers.Constant(value))
    assert keras.initializers.deserialize(written)((2, 3)).tolist() == [[1.0, 2.0, 3.0]] * 2


@pytest.mark.parametrize("entry", list(built_ins("initializer")), ids=lambda entry: entry.class_name)
def test_configs_and_arguments_are_keras_s(entry):
    ours = initializers.serialize(entry.factory())
    theirs = keras.initializers.deserialize(ours)
    assert type(theirs).__name__ == entry.class_name
    back = initializers.deserialize(keras.initializers.serialize(theirs))
    assert back.get_config() == ours["config"]
    expected = inspect.signature(getattr(keras.initializers, entry.class_name)).parameters
    for key, parameter in inspect.signature(entry.factory).parameters.items():
        assert expected[key].default == parameter.default


def test_every_name_that_keras_has_is_known():
    for name in dir(keras.initializers):
        if not name.startswith("_") and "stft" not in name.lower():
            assert hasattr(initializers, name), name
    for name in (
        "zero",
        "zeros",
        "one",
        "ones",
        "uniform",
        "normal",
        "identity",
        "orthogonal",
        "he_normal",
    ):
        assert type(initializers.get(name)).__name__ == type(keras.initializers.get(name)).__name__
