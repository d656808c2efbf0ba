"""The transposed convolutions: against Keras, against torch, with each option, and their errors."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import itertools

import keras
import numpy as np
import pytest
import torch

from penalize.constraints import MaxNorm
from penalize.errors import ArgumentError, ShapeError
from penalize.layers import convolution_transpose
from penalize.layers.convolution_transpose import Conv1DTranspose, Conv2DTranspose, Conv3DTranspose
from penalize.regularizers import L1, L2

# Keras itself sets this off on NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LAYERS = {1: Conv1DTranspose, 2: Conv2DTranspose, 3: Conv3DTranspose}

# One axis: each kernel, stride, padding, output_padding and dilation_rate that Keras takes together.
ALONG_ONE_AXIS = [
    {"kernel_size": size, "strides": stride, "padding": padding, "output_padding": extra, "dilation_rate": rate}
    for size, stride, rate, padding in itertools.product((1, 2, 3, 4, 5), (1, 2, 3, 4), (1, 2, 3), ("valid", "same"))
    for extra in (None, *range(stride))
    if stride == 1 or rate == 1
]

# More axes: the shape of the inputs and the options.
SEVERAL_AXES = [
    ((2, 4, 5, 3), {}),
    ((2, 4, 5, 3), {"kernel_size": (2, 4), "padding": "same"}),
    ((2, 4, 5, 3), {"kernel_size": (2, 3), "strides": (1, 2), "padding": "same"}),
    ((2, 4, 5, 3), {"kernel_size": (5, 2), "strides": (2, 3), "padding": "same"}),
    ((2, 4, 5, 3), {"kernel_size": (1, 4), "strides": (3, 1), "padding": "valid"}),
    ((2, 4, 5, 3), {"kernel_size": (4, 3), "strides": (2, 3), "padding": "same", "output_padding": (0, 2)}),
    ((2, 4, 5, 3), {"kernel_size": 2, "strides": (2, 3), "padding": "valid", "output_padding": 1}),
    ((2, 4, 5, 3), {"kernel_size": (2, 3), "dilation_rate": (1, 2), "padding": "same"}),
    ((2, 4, 5, 3), {"kernel_size": (2, 3), "dilation_rate": (3, 2), "padding": "valid", "activation": "relu"}),
    ((2, 4, 5, 3), {"kernel_size": (3, 2), "dilation_rate": (1, 3), "padding": "same", "output_padding": 0}),
    ((2, 3, 4, 5), {"strides": 2, "padding": "same", "data_format": "channels_first"}),
    ((2, 3, 4, 5), {"strides": (1, 2), "output_padding": (0, 1), "data_format": "channels_first"}),
    ((2, 4, 5, 3), {"strides": 2, "use_bias": False}),
    ((2, 1, 1, 3), {"kernel_size": 4, "strides": 2, "padding": "same"}),
    ((0, 4, 5, 3), {"strides": 2, "padding": "same"}),
    ((2, 2, 3, 2, 2), {}),
    ((2, 2, 3, 2, 2), {"kernel_size": (2, 3, 4), "strides": (2, 1, 3), "padding": "same"}),
    ((2, 2, 3, 2, 2), {"kernel_size": 2, "strides": (2, 1, 3), "padding": "same", "output_padding": (1, 0, 1)}),
    ((2, 2, 3, 2, 2), {"kernel_size": 2, "dilation_rate": (1, 2, 3), "padding": "same"}),
    ((2, 2, 2, 3, 2), {"kernel_size": 2, "strides": 3, "data_format": "channels_first", "activation": "tanh"}),
]
OPTIONS = {"filters": 4, "kernel_size": 3}


def compare(rank, shape, options):
    """Outputs, losses and gradients of our layer and Keras's, with the same weights and penalties."""
    options = {**OPTIONS, **options}
    theirs = getattr(keras.layers, f"Conv{rank}DTranspose")(
        **options,
        kernel_regularizer=keras.regularizers.L1(0.1),
        bias_regularizer=keras.regularizers.L2(0.2),
        activity_regularizer=keras.regularizers.L2(0.3),
    )
    ours = LAYERS[rank](**options, kernel_regularizer=L1(0.1), bias_regularizer=L2(0.2), activity_regularizer=L2(0.3))
    theirs.build(shape)
    ours.build(shape)
    random = np.random.default_rng(0)
    weights = [random.normal(size=w.shape).astype("float32") for w in theirs.get_weights()]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    x = random.normal(size=shape).astype("float32")
    their_x, our_x = torch.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    their_y, our_y = theirs(their_x), ours(our_x)
    assert our_y.shape == tuple(theirs.compute_output_shape(shape))
    torch.testing.assert_close(our_y, their_y, rtol=1e-5, atol=1e-5)
    assert len(ours.losses) == 2 + ours.use_bias
    torch.testing.assert_close(ours.losses, theirs.losses, rtol=1e-5, atol=1e-5)
    (their_y.sin().sum() + sum(theirs.losses)).backward()
    (our_y.sin().sum() + sum(ours.losses)).backward()
    torch.testing.assert_close(our_x.grad, their_x.grad, rtol=1e-4, atol=1e-4)
    kernel, *bias = [variable.value.grad for variable in theirs.trainable_weights]
    layout = ours.declarations.weights["kernel"].layout
    torch.testing.assert_close(layout.to_keras(ours.weight.grad), kernel, rtol=1e-4, atol=1e-4)
    if bias:
        torch.testing.assert_close(ours.bias.grad, bias[0], rtol=1e-4, atol=1e-4)


# Not one channel in a batch of one, whose gradient Keras 3.15.1 on torch fails to take.
@pytest.mark.parametrize("options", ALONG_ONE_AXIS)
def test_one_axis_is_keras_s(options):
    for shape, data_format in (((2, 5, 3), None), ((1, 1, 2), "channels_last"), ((2, 3, 4), "channels_first")):
        compare(1, shape, {**options, "data_format": data_format})


@pytest.mark.parametrize(("shape", "options"), SEVERAL_AXES)
def test_several_axes_are_keras_s(shape, options):
    compare(len(shape) - 2, shape, options)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_weights_are_torch_s_and_the_kernel_keras_s(rank):
    theirs = getattr(torch.nn, f"ConvTranspose{rank}d")(3, 4, 2, stride=2)
    ours = LAYERS[rank](4, 2, strides=2, data_format="channels_first")
    ours.build((None, 3, *(5,) * rank))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, *(5,) * rank)
    torch.testing.assert_close(ours(x), theirs(x))
    assert ours.kernel.shape == (*(2,) * rank, 4, 3)
    assert ours.kernel.data_ptr() == ours.weight.data_ptr()


def test_regularizers_constraints_and_initializers_see_keras_layout():
    shapes = []

    def seen(w):
        shapes.append(tuple(w.shape))
        return w.sum() * 0

    layer = Conv2DTranspose(
        4, (2, 3), kernel_regularizer=seen, kernel_constraint=MaxNorm(0.1, axis=(0, 1, 3)), bias_constraint="non_neg"
    )
    layer.build((None, 5, 5, 6))
    assert layer.losses[0].item() == 0
    assert set(shapes) == {(2, 3, 4, 6)}
    with torch.no_grad():
        layer.bias.fill_(-1.0)
    layer.apply_constraints()
    torch.testing.assert_close(layer.kernel.detach().pow(2).sum((0, 1, 3)).sqrt(), torch.full((4,), 0.1))
    assert layer.bias.tolist() == [0.0] * 4
    assert repr(layer.kernel_constraint) == "MaxNorm(max_value=0.1, axis=(0, 1, 3))"
    # Keras's shape decides what comes in: fan_in is 2 * 3 * 4 here.
    wide = Conv2DTranspose(4, (2, 3), kernel_initializer="he_uniform")
    wide.build((None, 5, 5, 600))
    assert wide.kernel.abs().max().item() == pytest.approx((6 / 24) ** 0.5, rel=0.02)


def test_defaults_are_keras_s():
    for name in ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"):
        theirs, ours = getattr(keras.layers, name)(4, 3), getattr(convolution_transpose, name)(4, 3)
        for attribute in ("kernel_size", "strides", "padding", "output_padding", "data_format", "dilation_rate"):
            assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
        assert (ours.filters, ours.use_bias) == (theirs.filters, theirs.use_bias)


def test_integers_and_double_precision_are_taken():
    layer = Conv1DTranspose(2, 2, strides=2)
    assert layer(torch.ones(1, 3, 1, dtype=torch.int64)).dtype == torch.float32
    assert Conv1DTranspose(2, 2, dtype="float64")(torch.ones(1, 3, 1, dtype=torch.float64)).dtype == torch.float64


def test_one_channel_in_a_batch_of_one_has_a_gradient():
    layer = Conv1DTranspose(2, 4, strides=1, padding="same", dtype="float64")
    layer.build((None, 5, 1))
    x = torch.randn(1, 5, 1, dtype=torch.float64, requires_grad=True)

    def output(x, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(output, (x, layer.weight, layer.bias))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": "causal"}, "up: padding must be one of 'valid', 'same', got 'causal'"),
        ({"strides": 2, "dilation_rate": 2}, r"up: strides \(2, 2\) and dilation_rate \(2, 2\) cannot both be above 1"),
        ({"strides": (1, 2), "dilation_rate": (2, 1)}, "strides .* and dilation_rate .* cannot both be above 1"),
        (
            {"output_padding": 2, "strides": 2},
            r"up: output_padding must be less than strides \(2, 2\) .*, got \(2, 2\)",
        ),
        (
            {"output_padding": 1, "strides": (2, 1)},
            r"output_padding must be less than strides \(2, 1\) along every axis",
        ),
        ({"output_padding": 1, "dilation_rate": 2}, r"output_padding must be less than strides \(1, 1\)"),
        ({"output_padding": -1, "strides": 2}, "up: output_padding must be an integer >= 0, got -1"),
        ({"output_padding": 0.5, "strides": 2}, r"output_padding must be an integer >= 0, got 0\.5"),
        ({"output_padding": True, "strides": 2}, "output_padding must be an integer >= 0, got True"),
        ({"output_padding": (None, 1), "strides": 2}, "output_padding must be an integer >= 0, got None"),
        ({"output_padding": (1, 0, 0)}, r"output_padding must be None, an integer or 2 integers, got \(1, 0, 0\)"),
        ({"output_padding": "1"}, "output_padding must be an integer >= 0, got '1'"),
        ({"kernel_size": (3,)}, r"kernel_size must be an integer or 2 integers, got \(3,\)"),
        ({"kernel_size": 0}, "kernel_size must be an integer >= 1, got 0"),
        ({"strides": 0}, "strides must be an integer >= 1, got 0"),
        ({"dilation_rate": 0}, "dilation_rate must be an integer >= 1, got 0"),
        ({"filters": 0}, "filters must be an integer >= 1, got 0"),
        ({"data_format": "last"}, "data_format must be one of 'channels_last', 'channels_first', got 'last'"),
        ({"groups": 2}, "groups"),
        ({"kernel_regularizer": "l3"}, "up: kernel_regularizer: unknown regularizer 'l3'"),
        ({"kernel_constraint": "max"}, "up: kernel_constraint: unknown constraint 'max': did you mean 'max_norm'"),
        ({"bias_constraint": 3}, "up: bias_constraint: a constraint is None, a name, .*, got int: 3"),
    ],
)
def test_bad_and_contradictory_options_are_named(options, message):
    with pytest.raises(ArgumentError, match=message):
        Conv2DTranspose(**{**OPTIONS, "name": "up", **options})


def test_inputs_of_another_shape_are_refused():
    layer = Conv2DTranspose(4, 3, name="up")
    with pytest.raises(ShapeError, match=r"up: inputs must have rank 4, got shape \(2, 5, 3\)"):
        layer(torch.ones(2, 5, 3))
    layer(torch.ones(2, 5, 5, 3))
    with pytest.raises(ShapeError, match="up: expected 3 input channels, got 2"):
        layer(torch.ones(2, 5, 5, 2))
