"""The graph of a functional model: operators, replaced layers, inner tensors, deep and unsized models."""

import collections

import pytest
import torch

import penalize
from penalize import layers
from penalize.errors import ArgumentError


def test_comparisons_are_made_for_each_value():
    inputs = penalize.Input((3,))
    model = penalize.Model(inputs, inputs * (inputs != 0) + (inputs == 1) * 100)
    assert model(torch.tensor([[0.0, 1.0, 2.0]])).tolist() == [[0.0, 101.0, 2.0]]


def test_a_layer_that_replaces_one_of_the_graph_runs():
    inputs = penalize.Input((3,))
    dense = layers.Dense(2, name="dense", kernel_initializer="zeros")
    model = penalize.Model(inputs, dense(inputs))
    model.dense = layers.Dense(2, kernel_initializer="ones", bias_initializer="ones", name="dense")
    assert model(torch.ones(1, 3)).tolist() == [[4.0, 4.0]]
    assert penalize.models.clone_model(model).get_layer("dense").bias_initializer.__class__.__name__ == "Ones"


def test_models_deeper_than_pythons_stack():
    inputs = tensor = penalize.Input((2,))
    for _ in range(1500):
        tensor = tensor + 1
    model = penalize.Model(inputs, tensor)
    assert model(torch.zeros(1, 2)).tolist() == [[1500.0, 1500.0]]


def test_a_model_from_a_tensor_in_the_middle():
    inputs = penalize.Input((3,))
    hidden = layers.Dense(2, name="first")(inputs)
    last = layers.Dense(1, kernel_regularizer="l2", name="last")
    whole = penalize.Model(inputs, last(hidden))
    part = penalize.Model(hidden, last(hidden))
    assert (part.inputs[0].shape, len(part.weights), len(part.losses)) == ((None, 2), 2, 1)
    middle = whole.get_layer("first")(torch.ones(4, 3))
    assert torch.equal(part(middle), whole(torch.ones(4, 3)))


def test_a_model_from_one_of_two_outputs_needs_both():
    inputs = penalize.Input((3, 2))
    output, state = layers.GRU(2, return_state=True)(inputs)
    with pytest.raises(ArgumentError, match="comes with an input, and must be an input, too"):
        penalize.Model(output, output + state)
    assert penalize.Model([output, state], output + state)([torch.ones(1, 2), torch.ones(1, 2)]).tolist() == [[2, 2]]


def test_unknown_sizes_may_be_large():
    inputs = penalize.Input((None, 3))
    tensor = layers.Conv1D(2, 100)(inputs)
    model = penalize.Model(inputs, layers.GlobalMaxPooling1D()(tensor))
    assert (tensor.shape, model(torch.ones(2, 120, 3)).shape) == ((None, None, 2), (2, 2))
    with pytest.raises(ArgumentError, match="conv1d.* cannot take inputs of shape .None, None, 3. when each unknown"):
        layers.Conv1D(2, 3000)(penalize.Input((None, 3)))


def test_a_layer_called_by_keywords_is_built_from_its_first_argument():
    class Mixed(penalize.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight((input_shape[-1],), "ones")

        def call(self, inputs, context=None):
            return inputs * self.scale

    layer = Mixed()
    layer(context=torch.ones(2, 7), inputs=torch.ones(2, 3))
    assert tuple(layer.scale.shape) == (3,)


def test_named_tuples_stay_what_they_are():
    Pair = collections.namedtuple("Pair", "mean spread")

    class Two(penalize.Layer):
        def call(self, inputs):
            return Pair(inputs.mean(1), inputs.std(1))

    inputs = penalize.Input((3,))
    model = penalize.Model(inputs, Two()(inputs))
    assert type(model(torch.ones(2, 3))) is Pair
    assert model.predict(torch.ones(2, 3), verbose=0).mean.tolist() == [1.0, 1.0]
