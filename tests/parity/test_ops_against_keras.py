"""The ops against keras.ops: values, shapes and dtypes."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import pytest
import torch

from penalize import ops

# Keras itself sets these off on NumPy 2 and on this torch.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The use of `x.T` on tensors:UserWarning"),
]

VALUES = [
    1.5,
    3,
    True,
    [1.0, -2.0],
    [[1, 2], [3, 4]],
    [1, 2.5],
    np.array([[1.0, 4.0]]),
    np.array([1, 2]),
    np.float32(2),
    torch.tensor([[1.0, 2.0], [3.0, 5.0]]),
    torch.tensor([1, 2], dtype=torch.int32),
    torch.tensor([1, 2], dtype=torch.uint8),
    torch.tensor([True, False]),
    torch.tensor([1.0, 2.0], dtype=torch.float16),
    [torch.tensor(1.0), torch.tensor(2.0)],
]
ELEMENTWISE = ["abs", "absolute", "square", "sqrt", "sum", "mean", "max", "convert_to_tensor"]


def assert_same(ours, theirs):
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    torch.testing.assert_close(ours, theirs, equal_nan=True)


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_values_and_dtypes_are_keras_s(name, value):
    assert_same(getattr(ops, name)(value), getattr(keras.ops, name)(value))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), (1,)])
@pytest.mark.parametrize("name", ["sum", "mean", "max"])
def test_axes_are_keras_s(name, axis, keepdims):
    x = torch.randn(2, 3, 4)
    assert_same(
        getattr(ops, name)(x, axis=axis, keepdims=keepdims), getattr(keras.ops, name)(x, axis=axis, keepdims=keepdims)
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda o: o.ones(3),
        lambda o: o.ones((2, 3), dtype="float16"),
        lambda o: o.zeros(()),
        lambda o: o.zeros((2,), dtype="int32"),
        lambda o: o.eye(3),
        lambda o: o.eye(3, 2, 1),
        lambda o: o.eye(2, 4, k=-1, dtype="int32"),
        lambda o: o.max([1, 2], initial=5),
        lambda o: o.max(torch.ones(0, 2), initial=5.0),
        lambda o: o.matmul([[1, 2], [3, 4]], [[1.0, 2.0], [3.0, 4.0]]),
        lambda o: o.matmul([[1, 2], [3, 4]], [[1, 2], [3, 4]]),
        lambda o: o.matmul(torch.ones(2, 2, dtype=torch.float16), torch.ones(2, 2)),
        lambda o: o.matmul(torch.ones(5, 2, 3), torch.ones(3, 4)),
        lambda o: o.transpose(torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))),
        lambda o: o.transpose(torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)), axes=(1, 0, 2)),
        lambda o: o.reshape([1, 2, 3, 4], (2, -1)),
        lambda o: o.reshape(torch.ones(2, 2), 4),
        lambda o: o.cast([1.7], "int32"),
        lambda o: o.cast(1, "float16"),
        lambda o: o.cast([0.0, 2.0], "bool"),
        lambda o: o.convert_to_tensor([1], dtype="float64"),
        lambda o: o.sum(torch.ones(2, 3), axis=()),
    ],
)
def test_calls_give_what_keras_gives(call):
    assert_same(call(ops), call(keras.ops))


def test_a_custom_regularizer_of_keras_s_page_is_the_same_under_both():
    def penalty(o, x):
        units = x / o.sqrt(o.sum(o.square(x), axis=1, keepdims=True))
        gram = o.matmul(units, o.transpose(units))
        return 0.01 * o.sum(o.absolute(gram - o.eye(o.shape(x)[0])))

    x = torch.randn(3, 4)
    assert_same(penalty(ops, x), penalty(keras.ops, x))
