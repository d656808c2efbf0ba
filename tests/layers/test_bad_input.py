"""Bad arguments and inputs, for every layer of the parity table: errors of this package that name the layer."""

import functools
import inspect

import numpy as np
import pytest
from tests.parity.layer_table import CASES, Row, inputs_of

import penalize
from penalize import layers
from penalize.errors import ArgumentError, PenalizeError, PenaltyError, ShapeError

BAD = {
    "_regularizer": ("l9", "unknown regularizer 'l9': did you mean"),
    "_initializer": ("zeross", "unknown initializer 'zeross': did you mean"),
    "_constraint": ("max_nrm", "unknown constraint 'max_nrm': did you mean"),
    "activation": ("reluu", "unknown activation 'reluu': did you mean"),
    "data_format": ("channels", "must be one of 'channels_last', 'channels_first', got 'channels'"),
}


def make(name, **changes):
    _, given = CASES[name][0]
    arguments = {key: value(penalize, "float32") if callable(value) else value for key, value in given.items()}
    return getattr(layers, name)(**{**arguments, **changes}, name="mine")


def bad_arguments():
    for name in CASES:
        for key in inspect.signature(getattr(layers, name)).parameters:
            for ending, (value, message) in BAD.items():
                if key.endswith(ending):
                    yield pytest.param(name, key, value, message, id=f"{name}-{key}")


@pytest.mark.parametrize(("name", "key", "value", "message"), list(bad_arguments()))
def test_an_unknown_name_is_refused_by_layer_and_argument(name, key, value, message):
    with pytest.raises(PenalizeError, match=rf"^mine(\.cell)?: {key}:? {message}"):
        make(name, **{key: value})


def error_of(layer, inputs):
    """The error of this package that a call raises, if it raises one; any other error is not caught."""
    try:
        layer(inputs)
    except PenalizeError as error:
        return error
    return None


def first_shapes():
    return [pytest.param(name, cases[0][0], id=name) for name, cases in CASES.items() if isinstance(cases[0][0], tuple)]


@pytest.mark.parametrize(("name", "shape"), first_shapes())
def test_inputs_of_another_shape_than_the_layer_was_built_for_are_refused_by_name_or_computed(name, shape):
    layer = make(name)
    layer(*inputs_of(Row(name, 0, "", None, "float32"), shape))
    others = [
        shape[:-1],
        (*shape, 2),
        *((*shape[:axis], shape[axis] + 1, *shape[axis + 1 :]) for axis in range(1, len(shape))),
    ]
    errors = [error for other in others if (error := error_of(layer, np.ones(other, "float32"))) is not None]
    # A wrapper's error names the layer inside that refuses.
    assert name in ("Bidirectional", "TimeDistributed", "RNN") or all("mine" in str(error) for error in errors)
    assert errors or not layer.weights


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (
            lambda: layers.Conv2D(3, 2, strides=2, dilation_rate=2),
            ArgumentError,
            "strides .* and dilation_rate .* cannot both",
        ),
        (lambda: layers.Conv2DTranspose(3, 2, strides=2, dilation_rate=2), ArgumentError, "strides .* dilation_rate"),
        (
            lambda: layers.ConvLSTM2D(3, 2, strides=2, dilation_rate=2),
            ArgumentError,
            "strides .* and dilation_rate .* cannot",
        ),
        (lambda: layers.Conv1D(4, 3, groups=3), ArgumentError, r"filters \(4\) must be a multiple of groups \(3\)"),
        (lambda: layers.Conv1D(4, 3, padding="sme"), ArgumentError, "padding must be one of .*did you mean 'same'"),
        (lambda: layers.LSTM(0), ArgumentError, r"lstm.*\.cell: units must be an integer >= 1, got 0"),
        (lambda: layers.LSTM(2, dropout=2.0), ArgumentError, "dropout must be a number between 0 and 1, got 2.0"),
        (lambda: layers.GRU(2, use_cudnn="yes"), ArgumentError, "use_cudnn must be True, False or 'auto', got 'yes'"),
        (lambda: layers.LSTM(2, activation="relu", use_cudnn=True), ArgumentError, "torch has no kernel for these"),
        *(
            (
                functools.partial(getattr(layers, kind), 2, recurrent_dropout=0.5, use_cudnn=True, name="rnn"),
                ArgumentError,
                "^rnn: use_cudnn=True asks for .* it must be 0, got recurrent_dropout=0.5",
            )
            for kind in ("LSTM", "GRU", "SimpleRNN")
        ),
        *(
            (
                functools.partial(getattr(layers, kind), 2, 3, use_cudnn=True, name="rnn"),
                ArgumentError,
                "^rnn: use_cudnn must be False or 'auto': .*, got True",
            )
            for kind in ("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
        ),
        *(
            (
                functools.partial(getattr(layers, kind), argument, mask_activity=True, name="step"),
                ArgumentError,
                "^step: mask_activity must be False for a cell, .*; give it to the recurrent layer",
            )
            for kind, argument in (
                ("SimpleRNNCell", 2),
                ("LSTMCell", 2),
                ("GRUCell", 2),
                ("StackedRNNCells", [layers.LSTMCell(2)]),
            )
        ),
        (lambda: layers.RNN(layers.Dense(2)), ArgumentError, "cell must be a Layer with a state_size"),
        (lambda: layers.RNN([]), ArgumentError, "cells must hold one cell at least"),
        (lambda: layers.Bidirectional(layers.Dense(2)), ArgumentError, "layer must be a recurrent layer such as"),
        (lambda: layers.Bidirectional(layers.LSTM(2), merge_mode="cat"), ArgumentError, "merge_mode must be one of"),
        (
            lambda: layers.Bidirectional(layers.LSTM(2), backward_layer=layers.LSTM(2)),
            ArgumentError,
            "one of layer and backward_layer must have go_backwards=True",
        ),
        (
            lambda: layers.TimeDistributed("dense"),
            ArgumentError,
            "layer must be a Layer or another nn.Module, got 'dense'",
        ),
        (lambda: layers.EinsumDense("abc-cd", 3), ArgumentError, "equation must be one such as"),
        (
            lambda: layers.EinsumDense("ab,bc->ac", 3, bias_axes="z"),
            ArgumentError,
            "bias_axes must be axes of the output",
        ),
        (
            lambda: layers.EinsumDense("ab,bc->ac", (2, 3))(np.ones((2, 3))),
            ArgumentError,
            "output_shape must name the sizes",
        ),
        (
            lambda: layers.Dense(2, dtype="mixed_bfloat"),
            ArgumentError,
            "Dense: unknown dtype 'mixed_bfloat': did you mean",
        ),
        (lambda: layers.TorchModuleWrapper(3), ArgumentError, "module must be an nn.Module, got int"),
        (lambda: layers.Masking("x"), ArgumentError, "mask_value must be a finite number, got 'x'"),
        (lambda: layers.LSTM(2)(np.ones((2, 0, 3), "float32")), ShapeError, "one timestep at least"),
        (lambda: layers.ConvLSTM1D(2, 3)(np.ones((2, 3, 4), "float32")), ShapeError, "rank 3, got|rank 4, got"),
        (
            lambda: layers.LSTM(2, recurrent_regularizer=lambda w: w.sum(0), name="rnn")(np.ones((2, 3, 4), "float32")),
            PenaltyError,
            r"rnn\.cell: recurrent_regularizer: the regularizer <lambda> must return one real number, got a tensor",
        ),
    ],
)
def test_contradictory_and_bad_arguments_are_refused_early(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_what_torchs_kernel_can_do_is_not_refused():
    x = np.ones((2, 3, 4), "float32")
    for kind in ("LSTM", "GRU", "SimpleRNN"):
        for use_cudnn in (True, "auto", False):
            assert getattr(layers, kind)(2, dropout=0.5, use_cudnn=use_cudnn)(x).shape == (2, 2)
        assert getattr(layers, kind)(2, recurrent_dropout=0.5)(x).shape == (2, 2)
        assert getattr(layers, kind)(2, mask_activity=True, activity_regularizer="l2")(x).shape == (2, 2)
