"""Dtype policies: what weights are kept in, what is computed in, and what penalties are summed in."""

import keras
import numpy as np
import pytest
import torch

import penalize
from penalize import layers
from penalize.errors import ArgumentError

X = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")


@pytest.fixture
def default_policy():
    yield penalize.config.set_dtype_policy
    penalize.config.set_dtype_policy("float32")


@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16", "float64"])
def test_weights_outputs_and_penalties_have_the_dtypes_of_the_policy(name):
    theirs = keras.layers.Dense(2, dtype=name)
    ours = layers.Dense(2, dtype=name, kernel_regularizer="l2", activity_regularizer="l1")
    assert ours(X).dtype == theirs(X).dtype == ours.compute_dtype
    variable = torch.float32 if name.startswith("mixed") else getattr(torch, name)
    assert ours.weight.dtype == ours.variable_dtype == ours.dtype == variable
    wide = torch.float64 if name == "float64" else torch.float32
    assert [loss.dtype for loss in ours.losses] == [wide, wide]
    ours(torch.from_numpy(X)).sum().backward()
    assert ours.weight.grad.dtype == variable


def test_a_layer_casts_to_its_own_dtype_wherever_it_stands():
    hidden = layers.Dense(3, "relu", dtype="mixed_bfloat16")
    model = penalize.Sequential(
        [penalize.Input((4,)), hidden, layers.Activation("softmax", dtype="float32"), layers.Dense(2)]
    )
    assert model(X).dtype == torch.float32
    assert hidden(X).dtype == torch.bfloat16
    outer = penalize.Sequential([layers.Dense(2, dtype="float32")], dtype="mixed_float16")
    assert outer(X).dtype == torch.float32


def test_autocast_false_leaves_inputs_and_weights_as_they_are():
    layer = layers.Dense(2, dtype="mixed_bfloat16", autocast=False)
    assert layer(torch.from_numpy(X)).dtype == torch.float32


def test_a_custom_layer_sees_its_weights_cast_while_it_is_called_and_only_then():
    class Scale(penalize.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight((input_shape[-1],), initializer="ones", regularizer="l2")

        def call(self, inputs):
            self.seen = self.scale.dtype, inputs.dtype
            return inputs * self.scale

    layer = Scale(dtype="mixed_bfloat16")
    assert layer(X).dtype == torch.bfloat16
    assert layer.seen == (torch.bfloat16, torch.bfloat16)
    assert layer.scale.dtype == torch.float32
    assert layer.scale is layer._parameters["scale"]
    layer.call = lambda inputs: 1 / 0
    with pytest.raises(ZeroDivisionError, match="division"):
        layer(X)
    assert layer.scale.dtype == torch.float32


def test_one_compiled_graph():
    layer = layers.Dense(2, dtype="mixed_bfloat16", kernel_regularizer="l2", activity_regularizer="l1")
    x = torch.from_numpy(X)
    expected, losses = layer(x), layer.losses
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), expected)
    torch.testing.assert_close(layer.losses, losses)


def test_moving_a_layer_to_another_dtype_moves_what_it_computes_in():
    layer = layers.LSTM(2, return_sequences=True)
    model = penalize.Sequential([layer, layers.Dense(2)])
    x = np.ones((2, 3, 4))
    assert model(x).dtype == torch.float32
    assert model.double()(x).dtype == torch.float64
    assert model.to(torch.bfloat16)(x).dtype == torch.bfloat16


def test_the_default_policy_under_both_of_kerass_names(default_policy):
    penalize.mixed_precision.set_global_policy("mixed_bfloat16")
    assert penalize.config.dtype_policy() == penalize.mixed_precision.Policy("mixed_bfloat16")
    assert layers.Dense(2)(X).dtype == torch.bfloat16
    assert layers.Dense(2, dtype="float32")(X).dtype == torch.float32
    penalize.config.set_floatx("float64")
    assert penalize.config.floatx() == "float64"
    assert layers.Dense(2)(X).dtype == torch.float64
    with pytest.raises(ArgumentError, match="floatx must be one of 'float16', .*, got 'int8'"):
        penalize.config.set_floatx("int8")
    with pytest.raises(ArgumentError, match="unknown dtype 'mixed_bfloat': did you mean 'mixed_bfloat16'"):
        default_policy("mixed_bfloat")


def test_policies_come_from_names_dtypes_policies_and_kerass_configs():
    config = keras.dtype_policies.serialize(keras.DTypePolicy("mixed_float16"))
    for identifier in ("mixed_float16", layers.DTypePolicy("mixed_float16"), config):
        assert layers.Dense(2, dtype=identifier).dtype_policy.name == "mixed_float16"
    assert layers.Dense(2, dtype=torch.float64).dtype_policy.name == "float64"
    with pytest.raises(ArgumentError, match="Dense: unknown dtype 'float31': did you mean 'float32'"):
        layers.Dense(2, dtype="float31")


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16", "bfloat16", "float64"])
@pytest.mark.parametrize("masked", [False, True])
def test_recurrent_layers_compute_in_the_dtype_of_the_policy(kind, name, masked):
    layer = getattr(layers, kind)(3, dtype=name, kernel_regularizer="l2", activity_regularizer="l2", return_state=True)
    x = torch.randn(2, 5, 4)
    mask = torch.tensor([[True] * 5, [True] * 2 + [False] * 3]) if masked else None
    outputs = layer(x, mask=mask)
    assert {output.dtype for output in outputs} == {layer.compute_dtype}
    variable = torch.float32 if name.startswith("mixed") else getattr(torch, name)
    assert {parameter.dtype for parameter in layer.parameters()} == {variable}
    wide = torch.float64 if name == "float64" else torch.float32
    assert [loss.dtype for loss in layer.losses] == [wide, wide]
    outputs[0].sum().backward()
    assert {parameter.grad.dtype for parameter in layer.parameters()} == {variable}


def test_a_stateful_mixed_layer_keeps_states_of_its_outputs_dtype():
    layer = layers.LSTM(3, stateful=True, dtype="mixed_bfloat16")
    for _ in range(2):
        assert layer(np.ones((2, 5, 4))).dtype == torch.bfloat16
    layer = layers.LSTM(3, stateful=True)
    layer(np.ones((2, 5, 4)))
    assert layer.double()(np.ones((2, 5, 4))).dtype == torch.float64


@pytest.mark.parametrize(
    "make",
    [
        lambda library: library.layers.Embedding(5, 2, dtype="mixed_bfloat16"),
        lambda library: library.layers.Bidirectional(
            library.layers.LSTM(3, dtype="mixed_bfloat16"), dtype="mixed_bfloat16"
        ),
        lambda library: library.layers.BatchNormalization(dtype="mixed_float16"),
        lambda library: library.layers.Conv1D(2, 3, dtype="mixed_bfloat16"),
        lambda library: library.layers.Add(dtype="mixed_bfloat16"),
    ],
)
def test_mixed_outputs_have_kerass_dtype(make):
    theirs, ours = make(keras), make(penalize)
    x = np.ones((2, 4), "int32") if isinstance(ours, layers.Embedding) else np.ones((2, 5, 4), "float32")
    inputs = [x, x] if isinstance(ours, layers.Add) else x
    assert ours(inputs).dtype == theirs(inputs).dtype == ours.compute_dtype


def test_a_mixed_model_with_a_float32_end_in_one_compiled_and_one_exported_graph():
    x = penalize.Input((4,))
    hidden = layers.Dense(3, "relu", dtype="mixed_bfloat16", kernel_regularizer="l2", activity_regularizer="l1")(x)
    model = penalize.Model(x, layers.Activation("softmax", dtype="float32")(hidden))
    value = torch.from_numpy(X)
    expected, losses = model(value), model.losses
    assert expected.dtype == torch.float32
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(value), expected)
    torch.testing.assert_close(model.losses, losses)
    exported = torch.export.export(model, (value,), strict=False).module()
    torch.testing.assert_close(exported(value), expected)


def test_penalties_of_a_mixed_layer_are_those_of_its_float32_weights_also_while_it_is_called():
    class Looks(penalize.Layer):
        def build(self, input_shape):
            # 1 + 2**-10 is 1 in bfloat16.
            self.scale = self.add_weight(
                (4,), initializer=lambda *_, dtype: torch.full((4,), 1 + 2**-10), regularizer="l1"
            )

        def call(self, inputs):
            self.inside = [loss.item() for loss in self.losses]
            return inputs * self.scale

    layer = Looks(dtype="mixed_bfloat16")
    layer(X)
    assert layer.inside == [loss.item() for loss in layer.losses] == [pytest.approx(0.04 * (1 + 2**-10), rel=1e-6)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_moving_a_functional_model_moves_what_every_layer_computes_in(dtype):
    x = penalize.Input((5, 4))
    hidden = layers.BatchNormalization()(layers.Bidirectional(layers.GRU(3, return_sequences=True))(x))
    model = penalize.Model(x, layers.Dense(2, kernel_regularizer="l2")(layers.GlobalMaxPooling1D()(hidden)))
    model.to(dtype).eval()
    assert model(np.ones((2, 5, 4))).dtype == dtype
    assert model.losses[0].dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("dtype", ["mixed", "float", "", 3, ["float32"]])
def test_what_is_no_floating_dtype_or_policy_is_refused_by_layers(dtype):
    with pytest.raises(ArgumentError, match="Dense: unknown dtype"):
        layers.Dense(2, dtype=dtype)


def test_models_leave_the_casting_to_their_layers(default_policy):
    def full(**arguments):
        return layers.Dense(1, use_bias=False, kernel_initializer="ones", dtype="float32", **arguments)

    exact = torch.tensor([[1 + 2**-12]])
    default_policy("mixed_bfloat16")
    inputs = penalize.Input((1,))
    functional = penalize.Model(inputs, full()(inputs))
    for model in (
        penalize.Sequential([full()]),
        penalize.Sequential([penalize.Input((1,)), full()]),
        functional,
        penalize.Sequential([penalize.Model(functional.inputs, functional.outputs)]),
    ):
        assert model(exact).item() == 1 + 2**-12
