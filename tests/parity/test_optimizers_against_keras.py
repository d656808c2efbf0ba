"""Every optimizer against the Keras optimizer of the same arguments: 30 steps on gradients from 1e-8 to 10."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import pytest
import torch

import penalize.optimizers

# Keras itself sets this off on NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHAPES = [(7,), (4, 5), (2, 3, 4)]
STEPS = 30

CASES = [
    ("SGD", {}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    ("SGD", {"momentum": 0.8, "nesterov": True}),
    ("SGD", {"nesterov": True}),
    ("RMSprop", {}),
    ("RMSprop", {"rho": 0.7, "epsilon": 1e-3}),
    ("RMSprop", {"momentum": 0.5}),
    ("RMSprop", {"centered": True, "epsilon": 1e-4}),
    ("RMSprop", {"centered": True, "momentum": 0.9, "epsilon": 1e-4}),
    ("Adam", {}),
    ("Adam", {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}),
    ("Adam", {"amsgrad": True, "beta_2": 0.8}),
    ("AdamW", {}),
    ("AdamW", {"weight_decay": 0.1, "amsgrad": True}),
    ("Adagrad", {}),
    ("Adagrad", {"initial_accumulator_value": 0.0, "learning_rate": 0.1}),
    ("Adagrad", {"initial_accumulator_value": 1.0, "epsilon": 1e-2}),
    ("Adadelta", {"learning_rate": 1.0}),
    ("Adadelta", {"rho": 0.5, "epsilon": 1e-4}),
    ("Adamax", {}),
    ("Adamax", {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}),
    ("Nadam", {}),
    ("Nadam", {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}),
    ("Lion", {}),
    ("Lion", {"beta_1": 0.5, "beta_2": 0.7}),
]
SHARED = [
    {"weight_decay": 0.05},
    {"clipnorm": 0.5},
    {"clipvalue": 0.3},
    {"global_clipnorm": 1.0},
    {"weight_decay": 0.05, "global_clipnorm": 0.5},
]
NAMES = ["SGD", "RMSprop", "Adam", "AdamW", "Adagrad", "Adadelta", "Adamax", "Nadam", "Lion"]
# Without weight decay: Keras rounds 1 - lr * weight_decay to float32.
PLAIN = [case for case in CASES if case[0] != "AdamW"]
CASES += [(name, shared) for name in NAMES for shared in SHARED]


def gradients(step, generator):
    """One gradient a shape; elements span 1e-8 to 10, and every element keeps its order of magnitude."""
    made = []
    for shape in SHAPES:
        scale = np.logspace(-8, 1, int(np.prod(shape))).reshape(shape)
        made.append(scale * generator.uniform(0.3, 1.0, shape) * generator.choice([-1, 1], shape))
    return made


def keras_weights(name, arguments, dtype, rates):
    generator = np.random.default_rng(0)
    variables = [keras.Variable(generator.normal(size=shape), dtype=dtype) for shape in SHAPES]
    optimizer = getattr(keras.optimizers, name)(**arguments)
    for step in range(STEPS):
        if rates and step in rates:
            optimizer.learning_rate = rates[step]
        optimizer.apply([torch.tensor(g, dtype=getattr(torch, dtype)) for g in gradients(step, generator)], variables)
    return [variable.value.detach().numpy() for variable in variables]


def our_weights(name, arguments, dtype, rates):
    generator = np.random.default_rng(0)
    kind = getattr(torch, dtype)
    weights = [torch.nn.Parameter(torch.tensor(generator.normal(size=shape), dtype=kind)) for shape in SHAPES]
    optimizer = getattr(penalize.optimizers, name)(**arguments).build(weights)
    for step in range(STEPS):
        if rates and step in rates:
            optimizer.param_groups[0]["lr"] = rates[step]
        for weight, gradient in zip(weights, gradients(step, generator), strict=True):
            weight.grad = torch.tensor(gradient, dtype=kind)
        optimizer.step()
    return [weight.detach().numpy() for weight in weights]


def largest_difference(name, arguments, dtype, rates=None):
    """Relative to each weight in float64; in float32, where cancellation leaves rounding, to each tensor's largest."""
    ours = our_weights(name, arguments, dtype, rates)
    theirs = keras_weights(name, arguments, dtype, rates)
    scales = [np.maximum(np.abs(b), 1e-3) if dtype == "float64" else np.abs(b).max() for b in theirs]
    return max(float(np.max(np.abs(a - b) / scale)) for a, b, scale in zip(ours, theirs, scales, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_weights_after_thirty_steps_are_keras_s(name, arguments, dtype):
    assert largest_difference(name, arguments, dtype) < 1e-6


@pytest.mark.parametrize(("name", "arguments"), PLAIN)
def test_each_weight_has_moved_as_far_as_keras_s(name, arguments):
    """Also where the gradient is 1e-8, which the place of epsilon decides."""
    generator = np.random.default_rng(0)
    start = [generator.normal(size=shape) for shape in SHAPES]
    ours = our_weights(name, arguments, "float64", None)
    theirs = keras_weights(name, arguments, "float64", None)
    for a, b, w in zip(ours, theirs, start, strict=True):
        np.testing.assert_allclose(a - w, b - w, rtol=1e-5, atol=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_a_learning_rate_changed_between_steps_acts_as_in_keras(name):
    arguments = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
    assert largest_difference(name, arguments, "float64", rates={5: 0.1, 12: 0.003}) < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_configs_are_read_by_each_other(name):
    ours = penalize.optimizers.serialize(getattr(penalize.optimizers, name)(learning_rate=0.25, clipnorm=2.0))
    theirs = keras.optimizers.deserialize(ours)
    assert type(theirs).__name__ == name
    back = penalize.optimizers.deserialize(keras.optimizers.serialize(theirs))
    assert back.get_config() == penalize.optimizers.deserialize(ours).get_config()


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_keras_s(name):
    theirs = getattr(keras.optimizers, name)().get_config()
    for key, value in getattr(penalize.optimizers, name)().get_config().items():
        if key != "name":
            assert value == (pytest.approx(theirs[key]) if isinstance(value, float) else theirs[key]), key
