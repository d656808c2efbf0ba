"""Layers beside Keras: outputs, losses in their order, and gradients, with weights copied through set_weights."""

import keras
import numpy as np
import pytest
import torch

import penalize
from penalize.errors import ArgumentError, ShapeError

ALL = {"activity_regularizer": "l2"}
BOTH = {"kernel_regularizer": "l1", "bias_regularizer": "l2", **ALL}

DEPTHWISE = {"depthwise_regularizer": "l1", "bias_regularizer": "l2", **ALL}
SEPARABLE = {"pointwise_regularizer": "l2", **DEPTHWISE}
NORM = {"gamma_regularizer": "l1", "beta_regularizer": "l2", **ALL}

CASES = {
    "Dense": [
        ((3, 4), {"units": 5, **BOTH}),
        ((2, 3, 4), {"units": 2, "activation": "gelu", "use_bias": False, **BOTH}),
        ((3, 4), {"units": 4, "kernel_regularizer": "orthogonal_regularizer"}),
    ],
    "Conv1D": [
        ((2, 9, 4), {"filters": 6, "kernel_size": 3, **BOTH}),
        ((2, 9, 4), {"filters": 6, "kernel_size": 4, "strides": 2, "padding": "same", **BOTH}),
        ((2, 9, 4), {"filters": 6, "kernel_size": 3, "padding": "causal", "dilation_rate": 2, **BOTH}),
        ((2, 9, 4), {"filters": 6, "kernel_size": 3, "groups": 2, "activation": "relu", **BOTH}),
        ((2, 4, 9), {"filters": 6, "kernel_size": 3, "data_format": "channels_first", **BOTH}),
    ],
    "Conv2D": [
        ((2, 7, 8, 3), {"filters": 4, "kernel_size": 3, **BOTH}),
        ((2, 7, 8, 3), {"filters": 4, "kernel_size": (3, 2), "strides": (2, 3), "padding": "same", **BOTH}),
        ((2, 7, 8, 3), {"filters": 6, "kernel_size": 2, "dilation_rate": (1, 2), "groups": 3, **BOTH}),
        ((2, 3, 7, 8), {"filters": 4, "kernel_size": 3, "data_format": "channels_first", "padding": "same", **BOTH}),
    ],
    "Conv3D": [
        ((2, 5, 6, 7, 2), {"filters": 3, "kernel_size": 2, **BOTH}),
        ((2, 5, 6, 7, 2), {"filters": 3, "kernel_size": (3, 2, 2), "strides": 2, "padding": "same", **BOTH}),
        ((2, 2, 5, 6, 7), {"filters": 3, "kernel_size": 2, "data_format": "channels_first", **BOTH}),
    ],
    "DepthwiseConv1D": [
        ((2, 9, 4), {"kernel_size": 3, "depth_multiplier": 2, **DEPTHWISE}),
        ((2, 9, 4), {"kernel_size": 3, "padding": "same", "dilation_rate": 2, "activation": "relu", **DEPTHWISE}),
        ((2, 4, 9), {"kernel_size": 4, "padding": "same", "strides": 2, "data_format": "channels_first", **DEPTHWISE}),
    ],
    "DepthwiseConv2D": [
        ((2, 7, 8, 3), {"kernel_size": (2, 3), "depth_multiplier": 2, **DEPTHWISE}),
        ((2, 7, 8, 3), {"kernel_size": 3, "strides": 2, "padding": "same", **DEPTHWISE}),
    ],
    "SeparableConv1D": [
        ((2, 9, 4), {"filters": 5, "kernel_size": 3, "depth_multiplier": 2, **SEPARABLE}),
        ((2, 9, 4), {"filters": 5, "kernel_size": 3, "padding": "same", "use_bias": False, **SEPARABLE}),
    ],
    "SeparableConv2D": [
        ((2, 7, 8, 3), {"filters": 5, "kernel_size": 3, "strides": 2, "padding": "same", **SEPARABLE}),
        ((2, 3, 7, 8), {"filters": 5, "kernel_size": 2, "data_format": "channels_first", **SEPARABLE}),
    ],
    "MaxPooling2D": [
        ((2, 7, 8, 3), ALL),
        ((2, 7, 8, 3), {"pool_size": (3, 2), "strides": (2, 1), "padding": "same", **ALL}),
        ((2, 3, 7, 8), {"pool_size": 2, "data_format": "channels_first", **ALL}),
    ],
    "MaxPooling1D": [((2, 7, 3), ALL), ((2, 7, 3), {"pool_size": 3, "strides": 2, "padding": "same", **ALL})],
    "MaxPooling3D": [((2, 5, 6, 7, 2), {"pool_size": (1, 2, 3), "padding": "same", **ALL})],
    "AveragePooling1D": [((2, 3, 7), {"pool_size": 3, "padding": "same", "data_format": "channels_first", **ALL})],
    "AveragePooling2D": [
        ((2, 7, 8, 3), {"pool_size": 2, **ALL}),
        ((2, 7, 8, 3), {"pool_size": (3, 2), "strides": 2, "padding": "same", **ALL}),
    ],
    "AveragePooling3D": [((2, 5, 6, 7, 2), {"pool_size": 2, "padding": "same", **ALL})],
    "GlobalMaxPooling1D": [((2, 7, 3), ALL), ((2, 3, 7), {"data_format": "channels_first", "keepdims": True, **ALL})],
    "GlobalMaxPooling2D": [((2, 7, 8, 3), ALL), ((2, 3, 7, 8), {"data_format": "channels_first", **ALL})],
    "GlobalMaxPooling3D": [((2, 4, 5, 6, 3), {"keepdims": True, **ALL})],
    "GlobalAveragePooling1D": [((2, 7, 3), ALL), ((2, 3, 7), {"data_format": "channels_first", **ALL})],
    "GlobalAveragePooling2D": [((2, 7, 8, 3), {"keepdims": True, **ALL})],
    "GlobalAveragePooling3D": [((2, 3, 4, 5, 6), {"data_format": "channels_first", **ALL})],
    "ReLU": [((3, 4), ALL), ((3, 4), {"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2, **ALL})],
    "LeakyReLU": [((3, 4), ALL)],
    "ELU": [((3, 4), {"alpha": 0.5, **ALL})],
    "Softmax": [((3, 4), ALL), ((3, 4, 5), {"axis": 1, **ALL}), ((3, 4, 5), {"axis": (1, 2), **ALL})],
    "PReLU": [
        ((3, 4), {"alpha_regularizer": "l1", **ALL}),
        ((2, 5, 6, 3), {"alpha_regularizer": "l2", "shared_axes": [1, 2], "alpha_initializer": "ones", **ALL}),
    ],
    "Reshape": [((3, 8), {"target_shape": (2, -1), **ALL})],
    "Permute": [((2, 3, 4, 5), {"dims": (3, 1, 2), **ALL})],
    "RepeatVector": [((3, 4), {"n": 3, **ALL})],
    "Rescaling": [
        ((3, 4), {"scale": 0.5, "offset": 1.0, **ALL}),
        ((3, 2), {"scale": [0.5, 2.0], "offset": [0.0, 1.0], **ALL}),
    ],
    "ZeroPadding1D": [((2, 4, 3), ALL), ((2, 3, 4), {"padding": (0, 2), "data_format": "channels_first", **ALL})],
    "ZeroPadding2D": [((2, 4, 5, 3), {"padding": (1, 2), **ALL}), ((2, 4, 5, 3), {"padding": ((1, 0), (2, 3)), **ALL})],
    "ZeroPadding3D": [((2, 3, 3, 3, 1), {"padding": 1, **ALL})],
    "UpSampling1D": [((2, 4, 3), {"size": 3, **ALL})],
    "UpSampling2D": [
        ((2, 4, 5, 3), {"size": (2, 3), **ALL}),
        ((2, 4, 5, 3), {"interpolation": "bilinear", **ALL}),
        ((2, 3, 4, 5), {"interpolation": "bicubic", "data_format": "channels_first", **ALL}),
    ],
    "UpSampling3D": [((2, 2, 3, 2, 1), {"size": (1, 2, 3), **ALL})],
    "GaussianNoise": [((3, 4), {"stddev": 0.5, **ALL})],
    "SpatialDropout1D": [((2, 4, 3), {"rate": 0.5})],
    "SpatialDropout2D": [((2, 4, 5, 3), {"rate": 0.5})],
    "SpatialDropout3D": [((2, 4, 5, 2, 3), {"rate": 0.5})],
    "LayerNormalization": [
        ((3, 4), NORM),
        ((2, 3, 4), {"epsilon": 0.1, **NORM}),
        ((2, 3, 4), {"axis": [1, 2], "center": False, "gamma_regularizer": "l2"}),
        ((2, 3, 4), {"axis": (-2, -1), "scale": False, "beta_regularizer": "l2"}),
    ],
    "GroupNormalization": [
        ((2, 5, 6), {"groups": 3, **NORM}),
        ((2, 6, 4, 5), {"groups": 2, "axis": 1, **NORM}),
        ((2, 4, 5, 6), {"groups": -1, **NORM}),
    ],
    "BatchNormalization": [
        ((6, 4), NORM),
        ((3, 5, 4), {"axis": 1, "momentum": 0.5, "epsilon": 0.1, **NORM}),
        ((3, 5, 6, 4), {"center": False, "gamma_regularizer": "l2"}),
        ((3, 5, 6, 4), {"scale": False, "beta_regularizer": "l2"}),
    ],
    "Flatten": [((2, 3, 4, 5), ALL), ((3,), ALL), ((2, 3, 4, 5), {"data_format": "channels_first", **ALL})],
    "Dropout": [((3, 4), {"rate": 0.5, **ALL})],
    "Activation": [((3, 4), {"activation": "tanh", **ALL})],
    "ActivityRegularization": [((3, 4), {"l1": 0.1, "l2": 0.2}), ((2, 3, 5), {"l2": 1.0})],
}
TABLE = [
    pytest.param(name, shape, arguments, id=f"{name}-{index}")
    for name, cases in CASES.items()
    for index, (shape, arguments) in enumerate(cases)
]


@pytest.mark.parametrize(("name", "shape", "arguments"), TABLE)
def test_outputs_losses_and_gradients(name, shape, arguments):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    theirs = getattr(keras.layers, name)(**arguments)
    ours = getattr(penalize.layers, name)(**arguments)
    theirs(x)
    ours(x)
    weights = [w + 0.1 for w in theirs.get_weights()]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    for got, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)
    their_x, our_x = torch.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    their_y, our_y = theirs(their_x), ours.eval()(our_x)
    torch.testing.assert_close(our_y, their_y, rtol=1e-5, atol=1e-6)
    assert len(ours.losses) == len(theirs.losses)
    given = sum(key.endswith("regularizer") for key in arguments) - ("use_bias" in arguments)
    assert len(ours.losses) == given + (name == "ActivityRegularization")
    torch.testing.assert_close(ours.losses, theirs.losses, rtol=1e-5, atol=1e-6)
    (their_y.square().sum() + sum(theirs.losses)).backward()
    (our_y.square().sum() + sum(ours.losses)).backward()
    torch.testing.assert_close(our_x.grad, their_x.grad, rtol=1e-4, atol=1e-5)
    trained = [weight for weight in ours.weights if weight.requires_grad]
    for parameter, variable in zip(trained, theirs.trainable_weights, strict=True):
        layout = next(w.layout for w in ours.declarations.weights.values() if getattr(ours, w.attribute) is parameter)
        torch.testing.assert_close(layout.to_keras(parameter.grad), variable.value.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("arguments", [{}, {"axis": 1, "momentum": 0.7}, {"center": False}, {"trainable": False}])
def test_batch_normalization_moves_its_statistics_as_keras_does(arguments):
    theirs, ours = keras.layers.BatchNormalization(**arguments), penalize.layers.BatchNormalization(**arguments)
    random = np.random.default_rng(0)
    for _ in range(3):
        x = random.normal(2.0, 3.0, size=(8, 5, 4)).astype("float32")
        expected, got = theirs(x, training=True), ours(x, training=True)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5)
    torch.testing.assert_close(ours.eval()(x), theirs(x), rtol=1e-4, atol=1e-5)


def test_batch_normalization_loads_torch_checkpoints():
    theirs, ours = torch.nn.BatchNorm1d(4, eps=1e-3), penalize.layers.BatchNormalization()
    theirs(torch.randn(8, 4))
    ours.build((None, 4))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 4)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_normalizations_that_keras_fails_at_on_torch():
    x = torch.randn(2, 3, 4)
    layer = penalize.layers.LayerNormalization(axis=1)
    mean, variance = x.mean(1, keepdim=True), x.var(1, correction=0, keepdim=True)
    torch.testing.assert_close(layer(x), (x - mean) / (variance + 1e-3).sqrt())
    bare = penalize.layers.GroupNormalization(2, scale=False, center=False)
    groups = x.movedim(-1, 1).reshape(2, 2, -1)
    expected = (groups - groups.mean(2, keepdim=True)) / (groups.var(2, correction=0, keepdim=True) + 1e-3).sqrt()
    torch.testing.assert_close(bare(x), expected.reshape(2, 4, 3).movedim(1, -1))
    for bad, message in (
        (lambda: penalize.layers.GroupNormalization(3)(x), r"number of channels \(4\) must be a multiple of groups"),
        (lambda: penalize.layers.BatchNormalization(axis=3)(x), "axis 3 must be one of inputs of shape"),
        (lambda: penalize.layers.LayerNormalization(axis=0)(x), "axis 0 must be one of inputs of shape"),
        (lambda: layer(torch.randn(2, 5, 4)), r"axes \(1,\) must have sizes \(3,\), got shape \(2, 5, 4\)"),
    ):
        with pytest.raises(ArgumentError, match=message):
            bad()


def test_embedding():
    arguments = {"embeddings_regularizer": "l1", "activity_regularizer": "l2"}
    theirs, ours = keras.layers.Embedding(7, 3, **arguments), penalize.layers.Embedding(7, 3, **arguments)
    x = np.array([[0, 6, 2], [2, 2, 1]])
    theirs(x)
    ours.set_weights(theirs.get_weights())
    y, expected = ours(x), theirs(x)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(ours.losses, theirs.losses)
    (y.square().sum() + sum(ours.losses)).backward()
    (expected.square().sum() + sum(theirs.losses)).backward()
    torch.testing.assert_close(ours.weight.grad, theirs.trainable_weights[0].value.grad)
    table = np.arange(21.0).reshape(7, 3)
    assert np.array_equal(penalize.layers.Embedding(7, 3, weights=[table]).get_weights()[0], table)
    with pytest.raises(ShapeError, match=r"array 0 must have shape \(7, 3\), got \(3, 7\)"):
        penalize.layers.Embedding(7, 3, weights=table.T)


@pytest.mark.parametrize("name", CASES)
def test_keywords_and_defaults_are_kerass(name):
    import inspect

    theirs = inspect.signature(getattr(keras.layers, name)).parameters
    ours = inspect.signature(getattr(penalize.layers, name)).parameters
    later = {
        "kernel_constraint",
        "bias_constraint",
        "lora_rank",
        "lora_alpha",
        "quantization_config",
        "alpha_constraint",
        "depthwise_constraint",
        "pointwise_constraint",
        "beta_constraint",
        "gamma_constraint",
        "renorm",
        "renorm_clipping",
        "renorm_momentum",
        "synchronized",
    }
    # `name` and `dtype` are keywords of every layer.
    expected = [key for key in theirs if key not in {*later, "name", "dtype", "kwargs"}]
    assert [key for key in ours if key not in {*later, "name", "dtype", "kwargs"}] == expected
    for key in expected:
        if theirs[key].kind is theirs[key].POSITIONAL_OR_KEYWORD and key not in (
            "pool_size",
            "alpha_initializer",
            "padding",
        ):
            default = ours[key].default
            assert default == theirs[key].default or (default, theirs[key].default) in ((1, (1, 1)), (1, (1, 1, 1)))


def test_flat_models_list_losses_in_kerass_order():
    def model(library):
        layer = library.layers.Dense
        both = {"kernel_regularizer": "l1", "bias_regularizer": "l2", "activity_regularizer": "l2"}
        return library.Sequential([library.Input((4,)), layer(3, name="a", **both), layer(2, name="b", **both)])

    theirs, ours = model(keras), model(penalize)
    ours.set_weights([w + 0.1 for w in theirs.get_weights()])
    theirs.set_weights(ours.get_weights())
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    theirs(x)
    ours(x)
    torch.testing.assert_close(torch.stack(ours.losses), torch.stack(theirs.losses))


def test_the_string_defaults_of_layers_reach_the_same_initial_distribution():
    theirs = keras.layers.Conv2D(64, 3)
    ours = penalize.layers.Conv2D(64, 3)
    theirs.build((None, 8, 8, 32))
    ours.build((None, 8, 8, 32))
    a, b = ours.get_weights()[0], theirs.get_weights()[0]
    assert a.std() == pytest.approx(b.std(), rel=0.05)
    assert np.abs(a).max() == pytest.approx(np.abs(b).max(), rel=0.02)
