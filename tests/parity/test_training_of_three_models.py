"""Fifty steps of three models beside Keras: convolutions, an LSTM, and an MLP with BatchNormalization."""

import keras
import pytest

from tests.parity.three_models import DTYPES, MODELS, OPTIMIZERS, compare

# In float32 Adam makes large steps of small gradients, and so of their rounding; float64 shows that it is rounding. What
# is left there is Keras's learning rate, which it keeps in float32.
TOLERANCES = {("sgd", "float32"): 5e-6, ("adam", "float32"): 2e-4, ("sgd", "float64"): 1e-6, ("adam", "float64"): 1e-6}


@pytest.fixture
def floatx():
    before = keras.config.floatx()
    yield keras.config.set_floatx
    keras.config.set_floatx(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", MODELS)
def test_fifty_steps_beside_keras(kind, optimizer, dtype, floatx):
    floatx(dtype)
    for what, value in compare(kind, optimizer, dtype).items():
        assert value <= TOLERANCES[optimizer, dtype], what
