"""Every activation function against Keras's, values and gradients, with every argument."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import inspect

import keras
import pytest
import torch

from penalize import activations

# Keras itself sets this off on NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

HELPERS = ("get", "serialize", "deserialize")
NAMES = [name for name in dir(keras.activations) if not name.startswith("_") and name not in HELPERS]
ARGUMENTS = {
    "relu": [
        {"negative_slope": 0.1},
        {"max_value": 1.5},
        {"threshold": 1.0},
        {"negative_slope": 0.1, "max_value": 2.0, "threshold": 0.5},
        {"negative_slope": 0.3, "max_value": 2.0},
    ],
    "leaky_relu": [{"negative_slope": 0.5}],
    "softmax": [{"axis": 0}, {"axis": (0, 1)}],
    "log_softmax": [{"axis": 0}],
    "gelu": [{"approximate": True}],
    "elu": [{"alpha": 2.0}],
    "celu": [{"alpha": 2.0}],
    "glu": [{"axis": 0}],
    "hard_shrink": [{"threshold": 1.0}],
    "soft_shrink": [{"threshold": 1.0}],
    "squareplus": [{"b": 1.0}],
    "threshold": [{"threshold": 0.3, "default_value": -2.0}],
}
# The values of Keras's sparsemax do not sum to 1: ours is held to its definition in tests/test_activations.py.
CASES = [(name, {}) for name in NAMES if name not in ("threshold", "sparsemax")]
CASES += [(name, arguments) for name, several in ARGUMENTS.items() for arguments in several]


def inputs():
    return torch.randn((6, 8), generator=torch.Generator().manual_seed(0)) * 3


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_values_and_gradients_are_keras_s(name, arguments):
    results = []
    for module in (activations, keras.activations):
        x = inputs().requires_grad_()
        y = getattr(module, name)(x, **arguments)
        (y * torch.linspace(1, 2, y.numel()).reshape(y.shape)).sum().backward()
        results.append((y.detach(), x.grad))
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_arguments_and_defaults_are_keras_s(name):
    ours = inspect.signature(getattr(activations, name)).parameters
    theirs = inspect.signature(getattr(keras.activations, name)).parameters
    assert [(key, one.default) for key, one in ours.items()] == [(key, one.default) for key, one in theirs.items()]


@pytest.mark.parametrize("name", NAMES)
def test_names_in_configs_are_keras_s(name):
    ours = activations.serialize(activations.get(name))
    assert ours == keras.activations.serialize(keras.activations.get(getattr(keras.activations, name)))
    assert activations.deserialize(ours) is getattr(activations, name)
