"""Layers beside Keras: the generated table of layers, regularizer arguments, data formats and dtypes.

`python -m tests.parity.layer_table` prints its figures.
"""

import inspect
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras

import penalize

DTYPES = ("float32", "mixed_bfloat16")
# Gradients below this share of the layer's largest are compared relative to that share.
FLOORS = {"float32": 1e-3, "mixed_bfloat16": 5e-2}


def tokens(library, dtype):
    return library.layers.Dense(3, dtype=dtype, kernel_regularizer="l1", bias_regularizer="l2")


def recurrent(kind, **arguments):
    def make(library, dtype):
        given = {
            "dtype": dtype,
            "kernel_regularizer": "l1",
            "recurrent_regularizer": "l2",
            "bias_regularizer": "l2",
            **arguments,
        }
        return getattr(library.layers, kind)(3, **given)

    return make


def cells(library, dtype):
    layers = library.layers
    return [
        layers.LSTMCell(3, dtype=dtype, kernel_regularizer="l1"),
        layers.GRUCell(2, dtype=dtype, bias_regularizer="l2"),
    ]


CONV = {"filters": 6, "kernel_size": 3}
PADDED = {"filters": 6, "kernel_size": 2, "strides": 2, "padding": "same"}

# name -> (shape of the inputs, arguments); an argument that is a function makes it from the library.
# Shapes are those of channels last; rows with channels first are generated.
CASES: dict[str, list[tuple[Any, dict[str, Any]]]] = {
    "Dense": [((3, 4), {"units": 5}), ((2, 3, 4), {"units": 2, "activation": "gelu", "use_bias": False})],
    "EinsumDense": [
        ((2, 3, 4), {"equation": "abc,cd->abd", "output_shape": (None, 5), "bias_axes": "d"}),
        ((2, 3, 4), {"equation": "...x,xyz->...yz", "output_shape": (2, 3), "bias_axes": "yz", "activation": "relu"}),
        ((2, 3, 4, 5), {"equation": "ab...,bc->ac...", "output_shape": 2, "bias_axes": "c"}),
    ],
    "Embedding": [("integers", {"input_dim": 7, "output_dim": 3})],
    "ReversibleEmbedding": [
        ("integers", {"input_dim": 7, "output_dim": 3}),
        ("integers", {"input_dim": 7, "output_dim": 3, "tie_weights": True, "mask_zero": True}),
    ],
    "Conv1D": [
        ((2, 9, 4), CONV),
        ((2, 9, 4), PADDED),
        ((2, 9, 4), {**CONV, "dilation_rate": 2, "groups": 2, "activation": "relu", "use_bias": False}),
        ((2, 9, 4), {**CONV, "padding": "causal", "dilation_rate": 2}),
    ],
    "Conv2D": [
        ((2, 7, 8, 4), CONV),
        ((2, 7, 8, 4), {**PADDED, "kernel_size": (3, 2), "strides": (2, 3)}),
        ((2, 7, 8, 4), {**CONV, "dilation_rate": (1, 2), "groups": 2}),
    ],
    "Conv3D": [((2, 5, 6, 7, 2), {"filters": 3, "kernel_size": 2}), ((2, 5, 6, 7, 2), PADDED)],
    "Conv1DTranspose": [((2, 5, 4), CONV), ((2, 5, 4), {**PADDED, "kernel_size": 3}), ((2, 5, 4), PADDED)],
    "Conv2DTranspose": [
        ((2, 4, 5, 3), CONV),
        ((2, 4, 5, 3), {**PADDED, "kernel_size": 3}),
        ((2, 4, 5, 3), {**CONV, "strides": 3, "output_padding": 1, "activation": "relu"}),
    ],
    "Conv3DTranspose": [((1, 3, 4, 3, 2), {"filters": 2, "kernel_size": 2}), ((1, 3, 4, 3, 2), PADDED)],
    "DepthwiseConv1D": [
        ((2, 9, 4), {"kernel_size": 3, "depth_multiplier": 2}),
        ((2, 9, 4), {"kernel_size": 4, "padding": "same", "strides": 2, "activation": "relu"}),
    ],
    "DepthwiseConv2D": [
        ((2, 7, 8, 3), {"kernel_size": (2, 3), "depth_multiplier": 2}),
        ((2, 7, 8, 3), {"kernel_size": 3, "strides": 2, "padding": "same"}),
    ],
    "SeparableConv1D": [
        ((2, 9, 4), {**CONV, "depth_multiplier": 2}),
        ((2, 9, 4), {**CONV, "padding": "same", "use_bias": False}),
    ],
    "SeparableConv2D": [((2, 7, 8, 3), {**PADDED, "kernel_size": 3}), ((2, 7, 8, 3), CONV)],
    "BatchNormalization": [
        ((6, 4), {}),
        ((3, 5, 4), {"axis": 1, "momentum": 0.5, "epsilon": 0.1}),
        ((3, 5, 6, 4), {"center": False}),
        ((3, 5, 6, 4), {"scale": False}),
    ],
    "LayerNormalization": [((3, 4), {}), ((2, 3, 4), {"axis": [1, 2], "epsilon": 0.1})],
    "GroupNormalization": [
        ((2, 5, 6), {"groups": 3}),
        ((2, 6, 4, 5), {"groups": 2, "axis": 1}),
        ((2, 4, 6), {"groups": -1}),
    ],
    "PReLU": [((3, 4), {}), ((2, 5, 6, 3), {"shared_axes": [1, 2], "alpha_initializer": "ones"})],
    "SimpleRNN": [
        ((3, 5, 4), {"units": 3}),
        ((3, 5, 4), {"units": 3, "activation": "relu", "return_sequences": True, "use_bias": False}),
        ((3, 5, 4), {"units": 3, "activation": "softsign", "go_backwards": True}),
    ],
    "LSTM": [
        ((3, 5, 4), {"units": 3}),
        ((3, 5, 4), {"units": 3, "return_sequences": True, "go_backwards": True, "unit_forget_bias": False}),
        ((3, 5, 4), {"units": 3, "recurrent_activation": "hard_sigmoid", "use_bias": False}),
    ],
    "GRU": [
        ((3, 5, 4), {"units": 3}),
        ((3, 5, 4), {"units": 3, "reset_after": False, "return_sequences": True}),
        ((3, 5, 4), {"units": 3, "activation": "relu", "go_backwards": True, "use_bias": False}),
    ],
    "RNN": [((3, 5, 4), {"cell": cells}), ((3, 5, 4), {"cell": cells, "return_sequences": True})],
    "Bidirectional": [
        ((3, 5, 4), {"layer": recurrent("LSTM", activity_regularizer="l2")}),
        ((3, 5, 4), {"layer": recurrent("GRU", return_sequences=True), "merge_mode": "sum"}),
        ((3, 5, 4), {"layer": recurrent("SimpleRNN", return_sequences=True), "merge_mode": None}),
    ],
    "ConvLSTM1D": [
        ((2, 4, 7, 3), {"filters": 2, "kernel_size": 3}),
        ((2, 4, 7, 3), {"filters": 2, "kernel_size": 2, "strides": 2, "padding": "same", "return_sequences": True}),
    ],
    "ConvLSTM2D": [
        ((2, 3, 6, 5, 3), {"filters": 2, "kernel_size": (3, 2), "padding": "same"}),
        ((2, 3, 6, 5, 3), {"filters": 2, "kernel_size": 3, "go_backwards": True, "return_sequences": True}),
    ],
    "ConvLSTM3D": [((1, 3, 4, 5, 4, 2), {"filters": 2, "kernel_size": 2})],
    "MultiHeadAttention": [
        ("attention", {"num_heads": 2, "key_dim": 3}),
        ("attention", {"num_heads": 2, "key_dim": 3, "value_dim": 5, "output_shape": 7, "use_bias": False}),
    ],
    "GroupQueryAttention": [("attention", {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2})],
    "TimeDistributed": [((3, 5, 4), {"layer": tokens})],
    "ActivityRegularization": [((3, 4), {"l1": 0.1, "l2": 0.2}), ((2, 3, 5), {"l2": 1.0})],
    "Masking": [((3, 5, 4), {})],
    "Activation": [((3, 4), {"activation": "tanh"})],
    "ReLU": [((3, 4), {}), ((3, 4), {"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2})],
    "LeakyReLU": [((3, 4), {})],
    "ELU": [((3, 4), {"alpha": 0.5})],
    "Softmax": [((3, 4), {}), ((3, 4, 5), {"axis": 1}), ((3, 4, 5), {"axis": (1, 2)})],
    "MaxPooling1D": [((2, 7, 3), {}), ((2, 7, 3), {"pool_size": 3, "strides": 2, "padding": "same"})],
    "MaxPooling2D": [((2, 7, 8, 3), {}), ((2, 7, 8, 3), {"pool_size": (3, 2), "strides": (2, 1), "padding": "same"})],
    "MaxPooling3D": [((2, 5, 6, 7, 2), {"pool_size": (1, 2, 3), "padding": "same"})],
    "AveragePooling1D": [((2, 7, 3), {"pool_size": 3, "padding": "same"})],
    "AveragePooling2D": [((2, 7, 8, 3), {"pool_size": 2}), ((2, 7, 8, 3), {"pool_size": (3, 2), "padding": "same"})],
    "AveragePooling3D": [((2, 5, 6, 7, 2), {"pool_size": 2, "padding": "same"})],
    "GlobalMaxPooling1D": [((2, 7, 3), {}), ((2, 7, 3), {"keepdims": True})],
    "GlobalMaxPooling2D": [((2, 7, 8, 3), {})],
    "GlobalMaxPooling3D": [((2, 4, 5, 6, 3), {"keepdims": True})],
    "GlobalAveragePooling1D": [((2, 7, 3), {}), ((2, 7, 3), {"keepdims": True})],
    "GlobalAveragePooling2D": [((2, 7, 8, 3), {"keepdims": True})],
    "GlobalAveragePooling3D": [((2, 4, 5, 6, 3), {})],
    "Reshape": [((3, 8), {"target_shape": (2, -1)})],
    "Permute": [((2, 3, 4, 5), {"dims": (3, 1, 2)})],
    "RepeatVector": [((3, 4), {"n": 3})],
    "Rescaling": [((3, 4), {"scale": 0.5, "offset": 1.0}), ((3, 2), {"scale": [0.5, 2.0], "offset": [0.0, 1.0]})],
    "ZeroPadding1D": [((2, 4, 3), {}), ((2, 4, 3), {"padding": (0, 2)})],
    "ZeroPadding2D": [((2, 4, 5, 3), {"padding": (1, 2)}), ((2, 4, 5, 3), {"padding": ((1, 0), (2, 3))})],
    "ZeroPadding3D": [((2, 3, 3, 3, 1), {"padding": 1})],
    "UpSampling1D": [((2, 4, 3), {"size": 3})],
    "UpSampling2D": [
        ((2, 4, 5, 3), {"size": (2, 3)}),
        ((2, 4, 5, 3), {"interpolation": "bilinear"}),
        ((2, 4, 5, 3), {"interpolation": "bicubic"}),
    ],
    "UpSampling3D": [((2, 2, 3, 2, 1), {"size": (1, 2, 3)})],
    "GaussianNoise": [((3, 4), {"stddev": 0.5})],
    "Dropout": [((3, 4), {"rate": 0.5})],
    "SpatialDropout1D": [((2, 4, 3), {"rate": 0.5})],
    "SpatialDropout2D": [((2, 4, 5, 3), {"rate": 0.5})],
    "SpatialDropout3D": [((2, 4, 5, 2, 3), {"rate": 0.5})],
    "Flatten": [((2, 3, 4, 5), {}), ((3,), {})],
}

# Rows that Keras 3.15.1 itself fails at on torch, or gets wrong, with the reason; the tests state what we do there.
LEFT_OUT = {
    "GroupQueryAttention, activity": "Keras counts the output twice (T02); its other four entries are compared in tests/layers/test_attention.py",
    "AveragePooling3D, mixed_bfloat16": "torch has no CPU kernel of it for bfloat16, which Keras calls",
}


@dataclass(frozen=True)
class Row:
    """One comparison: a layer, its arguments, which of its regularizers is set, and how it computes."""

    name: str
    case: int
    regularized: str
    data_format: str | None
    dtype: str

    @property
    def id(self) -> str:
        parts = [
            f"{self.name}-{self.case}",
            self.regularized.removesuffix("_regularizer"),
            self.data_format,
            self.dtype,
        ]
        return "-".join(part for part in parts if part)


def parameters_of(name):
    return inspect.signature(getattr(keras.layers, name)).parameters


def rows():
    found = []
    for name, cases in CASES.items():
        parameters = parameters_of(name)
        arguments = [key for key in parameters if key.endswith("_regularizer")]
        if "activity_regularizer" not in arguments and name != "ActivityRegularization":
            arguments.append("activity_regularizer")
        formats = ("channels_last", "channels_first") if "data_format" in parameters else (None,)
        for case, (shape, _) in enumerate(cases):
            for regularized in arguments or ["l1, l2"]:
                for data_format in formats if shape != (3,) else (None,):
                    for dtype in DTYPES:
                        row = Row(name, case, regularized, data_format, dtype)
                        if not left_out(row):
                            found.append(row)
    return found


def left_out(row):
    if row.name == "GroupQueryAttention":
        return row.regularized == "activity_regularizer"
    return row.name == "AveragePooling3D" and row.dtype == "mixed_bfloat16"


def channels_first(name, shape):
    """The same shape with the channels before the spatial axes, which a ConvLSTM has after time."""
    place = 2 if name.startswith("ConvLSTM") else 1
    return (*shape[:place], shape[-1], *shape[place:-1])


def inputs_of(row, shape):
    random = np.random.default_rng(0)
    if shape == "integers":
        return [np.array([[0, 6, 2], [2, 2, 1]])]
    if shape == "attention":
        return [random.normal(size=(2, 3, 4)).astype("float32"), random.normal(size=(2, 5, 4)).astype("float32")]
    if row.data_format == "channels_first":
        shape = channels_first(row.name, shape)
    return [random.normal(size=shape).astype("float32")]


def layers_of(row):
    """Keras's layer and ours."""
    _, given = CASES[row.name][row.case]
    made = []
    for library in (keras, penalize):
        arguments = {key: value(library, row.dtype) if callable(value) else value for key, value in given.items()}
        if row.data_format is not None:
            arguments["data_format"] = row.data_format
        if row.regularized.endswith("_regularizer"):
            arguments[row.regularized] = "l2" if row.regularized == "bias_regularizer" else "l1"
        # Keras 3.15.1 takes the argument of SimpleRNN and forgets it; spatial dropouts only have the attribute.
        later = row.name in ("SimpleRNN", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")
        activity = arguments.pop("activity_regularizer", None) if later else None
        layer = getattr(library.layers, row.name)(**arguments, dtype=row.dtype)
        if activity is not None:
            layer.activity_regularizer = library.regularizers.get(activity)
        made.append(layer)
    return made


def difference(got, expected, floor=0.0):
    """The largest difference, relative to the largest entry, or to `floor` where all are smaller."""
    got, expected = (torch.as_tensor(value).detach().double() for value in (got, expected))
    assert got.shape == expected.shape, (got.shape, expected.shape)
    if got.numel() == 0:
        return 0.0
    scale = max(expected.abs().max().item(), floor)
    return (got - expected).abs().max().item() / (scale if scale > 0 else 1.0)


def flat(output):
    return [output] if isinstance(output, torch.Tensor) else [item for part in output for item in flat(part)]


def our_gradients(layer):
    """The gradients of the trained weights in Keras's layout and order."""
    from penalize.layers.tracking import weights_below

    return [
        layout.to_keras(weight.grad) if weight.grad is not None else None
        for layout, weight in weights_below(layer)
        if weight.requires_grad
    ]


def compare(row):
    """The largest relative differences of outputs, losses and gradients; AssertionError for another structure."""
    theirs, ours = layers_of(row)
    shape, _ = CASES[row.name][row.case]
    x = inputs_of(row, shape)
    theirs(*x)
    ours(*x)
    random = np.random.default_rng(1)
    weights = [0.3 * random.normal(size=w.shape).astype("float32") for w in theirs.get_weights()]
    weights = [np.abs(w) + 0.5 if "variance" in v.name else w for w, v in zip(weights, theirs.weights, strict=True)]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    for got, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)
    floats = x[0].dtype.kind == "f"
    their_x, our_x = ([torch.tensor(part, requires_grad=floats) for part in x] for _ in range(2))
    their_y, our_y = flat(theirs(*their_x)), flat(ours.eval()(*our_x))
    their_losses, our_losses = theirs.losses, ours.losses
    assert len(our_losses) == len(their_losses), (len(our_losses), len(their_losses))
    assert [y.dtype for y in our_y] == [y.dtype for y in their_y]
    result = {
        "outputs": max(difference(a, b) for a, b in zip(our_y, their_y, strict=True)),
        "losses": max((difference(a, b) for a, b in zip(our_losses, their_losses, strict=True)), default=0.0),
    }
    objective = sum(y.float().square().sum() for y in their_y) + sum(loss.float() for loss in their_losses)
    if objective.requires_grad:
        objective.backward()
        (sum(y.float().square().sum() for y in our_y) + sum(our_losses)).backward()
    pairs = [(a.grad, b.grad) for a, b in zip(our_x, their_x, strict=True)]
    pairs += list(zip(our_gradients(ours), [v.value.grad for v in theirs.trainable_weights], strict=True))
    assert [got is None for got, _ in pairs] == [expected is None for _, expected in pairs]
    pairs = [pair for pair in pairs if pair[0] is not None]
    # The bias of an attention's keys has a gradient of 0 but for rounding, which in bfloat16 is large.
    floor = FLOORS[row.dtype] * max((expected.abs().max().item() for _, expected in pairs), default=0.0)
    gradients = [difference(got, expected, floor) for got, expected in pairs]
    return {**result, "gradients": max(gradients, default=0.0)}


def main():
    for dtype in DTYPES:
        worst = {"outputs": 0.0, "losses": 0.0, "gradients": 0.0}
        table = [row for row in rows() if row.dtype == dtype]
        for row in table:
            for key, value in compare(row).items():
                worst[key] = max(worst[key], value)
        figures = ", ".join(f"{key} {value:.1e}" for key, value in worst.items())
        print(
            f"{dtype}: {len(table)} rows, {len({row.name for row in table})} layers; largest relative difference: {figures}"
        )
    for what, reason in LEFT_OUT.items():
        print(f"left out: {what}: {reason}")


if __name__ == "__main__":
    main()
