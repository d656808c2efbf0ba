"""clone_model and the copies of layers that it makes."""

import numpy as np
import pytest
import torch
from tests.parity.layer_table import CASES, Row, flat, inputs_of
from torch import nn

import penalize
from penalize import layers
from penalize.errors import ArgumentError
from penalize.layers.cloning import fresh_copy
from penalize.layers.described import arguments_of
from penalize.models import clone_model

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


@pytest.mark.parametrize(
    ("name", "case"), [(name, case) for name, cases in CASES.items() for case in range(len(cases))]
)
def test_a_copied_layer_computes_the_same_and_shares_nothing(name, case):
    shape, given = CASES[name][case]
    arguments = {key: value(penalize, "float32") if callable(value) else value for key, value in given.items()}
    layer = getattr(layers, name)(**arguments)
    inputs = inputs_of(Row(name, case, "", None, "float32"), shape)
    layer.activity_regularizer = "l1"
    layer(*inputs)
    copied = fresh_copy(layer)
    copied(*inputs)
    assert copied.name == layer.name
    assert len(copied.losses) == len(layer.losses)
    copied.set_weights(layer.get_weights())
    outputs = [flat(one.eval()(*inputs)) for one in (layer, copied)]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=0)
    assert not {id(w) for w in layer.weights} & {id(w) for w in copied.weights}
    mine, theirs = arguments_of(layer), arguments_of(copied)
    plain = [key for key, value in mine.items() if isinstance(value, int | float | str | tuple | None)]
    assert {key: theirs[key] for key in plain} == {key: mine[key] for key in plain}


def test_a_copy_has_the_regularizers_of_now_and_they_are_its_own():
    layer = layers.Dense(2, kernel_regularizer="l1")
    layer(X)
    layer.kernel_regularizer = penalize.regularizers.L2(0.5)
    copied = fresh_copy(layer)
    copied(X)
    copied.kernel_regularizer.l2 = 3.0
    assert layer.kernel_regularizer.l2 == 0.5


def test_a_layer_that_forgets_an_argument_cannot_be_copied():
    class Forgets(penalize.Layer):
        def __init__(self, width, **arguments):
            super().__init__(**arguments)

        def call(self, inputs):
            return inputs

    with pytest.raises(ArgumentError, match="mine: cannot be made anew: Forgets does not keep its argument 'width'"):
        fresh_copy(Forgets(3, name="mine"))


def test_a_sequential_clone_keeps_names_freezing_sharing_and_compile_settings():
    shared = layers.Dense(4, "relu", kernel_regularizer="l2", name="shared")
    inner = penalize.Sequential([layers.Dense(3, name="a"), layers.Dropout(0.5, name="drop")], name="inner")
    model = penalize.Sequential([penalize.Input((4,)), shared, shared, inner, nn.Linear(3, 1)], name="outer")
    shared.trainable = False
    model.activity_regularizer = "l1"
    model.compile(penalize.optimizers.Adam(0.01), "mse", metrics=["mae"])
    clone = clone_model(model)
    assert clone.name == "outer"
    assert [getattr(layer, "name", None) for layer in clone.layers] == ["shared", "shared", "inner", None]
    assert clone.layers[0] is clone.layers[1]
    assert [p.requires_grad for p in clone.parameters()] == [p.requires_grad for p in model.parameters()]
    assert clone.activity_regularizer is not model.activity_regularizer
    assert not np.array_equal(clone.get_weights()[0], model.get_weights()[0])
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone.predict(X, verbose=0), model.predict(X, verbose=0))
    before = model.get_weights()
    history = clone.fit(X, X[:, :1], epochs=2, verbose=0).history
    assert set(history) == {"loss", "penalty", "mae"}
    for mine, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, then)


def test_a_graph_is_cloned_with_shared_layers_operators_and_added_losses():
    a, b = penalize.Input((4,), name="a"), penalize.Input((4,), name="b")
    shared = layers.Dense(3, activity_regularizer="l1", name="shared")
    left, right = shared(a), shared(b)
    total = layers.Add()([left, right * 2]) + torch.tanh(left)
    model = penalize.Model({"first": a, "second": b}, [layers.Dense(1, name="out")(total), right], name="graph")
    model.add_loss(penalize.ops.sum(total) * 0.1)
    clone = clone_model(model)
    assert clone.name == "graph"
    inputs = {"first": torch.from_numpy(X), "second": torch.from_numpy(X[::-1].copy())}
    clone.set_weights(model.get_weights())
    torch.testing.assert_close(clone(inputs), model(inputs), rtol=0, atol=0)
    torch.testing.assert_close(clone.losses, model.losses, rtol=0, atol=0)
    assert len(clone.losses) == 3
    assert clone.get_layer("shared") is not shared


def test_a_subclass_is_cloned_from_its_arguments():
    class Net(penalize.Model):
        def __init__(self, width, strength=0.1, **arguments):
            super().__init__(**arguments)
            self.width = width
            self.strength = strength
            self.dense = layers.Dense(width, kernel_regularizer=penalize.regularizers.L2(strength))

        def call(self, inputs):
            return self.dense(inputs)

    model = Net(3, strength=0.5, activity_regularizer="l1", name="net")
    model(X)
    clone = clone_model(model)
    clone(X)
    assert (clone.width, clone.name) == (3, "net")
    clone.set_weights(model.get_weights())
    clone(X)
    torch.testing.assert_close(clone.losses, model.losses)


def test_what_is_no_model_is_refused():
    with pytest.raises(ArgumentError, match="clone_model takes a Model, got Linear"):
        clone_model(nn.Linear(2, 2))


class Net(penalize.Model):
    def __init__(self, units=3):
        super().__init__()
        self.units = units
        self.dense = layers.Dense(units)
        self.scale = Scale()

    def call(self, inputs):
        return self.scale(self.dense(inputs))


class Scale(penalize.Layer):
    def build(self, input_shape):
        self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")

    def call(self, inputs):
        return inputs * self.factor


def test_what_was_set_on_a_subclass_after_building_is_kept():
    model = Net()
    model(torch.ones(2, 4))
    shared = penalize.regularizers.L1(0.3)
    model.dense.kernel_regularizer = model.dense.bias_regularizer = shared
    model.dense.kernel_constraint = "non_neg"
    model.scale.activity_regularizer = "l2"
    model.scale.own_weight("factor").regularizer = penalize.regularizers.L2(0.7)
    model.activity_regularizer = "l1"
    model.dense.trainable = False
    clone = penalize.models.clone_model(model)
    assert (clone.name, clone.dense.name) == (model.name, model.dense.name)
    assert repr(clone.activity_regularizer) == "L1(l1=0.01)"
    assert (clone.dense.kernel_regularizer.l1, type(clone.dense.kernel_constraint).__name__) == (0.3, "NonNeg")
    assert clone.dense.kernel_regularizer is clone.dense.bias_regularizer is not shared
    assert (clone.scale.own_weight("factor").regularizer.l2, clone.dense.trainable) == (0.7, False)
    clone(torch.ones(2, 4))
    model(torch.ones(2, 4))
    assert len(clone.losses) == len(model.losses) == 3


class OfItsOwnGraph(penalize.Model):
    def __init__(self, units):
        inputs = penalize.Input((4,))
        super().__init__(inputs, layers.Dense(units, name="only")(inputs))
        self.units = units


def test_a_subclass_that_makes_its_own_graph():
    model = OfItsOwnGraph(3)
    model.get_layer("only").kernel_regularizer = "l2"
    clone = penalize.models.clone_model(model)
    assert (type(clone), clone.units, len(clone.losses)) == (OfItsOwnGraph, 3, 1)


class Unlike(penalize.Model):
    made = 0

    def __init__(self):
        super().__init__()
        Unlike.made += 1
        self.dense = layers.Dense(2) if Unlike.made == 1 else layers.Conv1D(2, 1)


def test_a_class_that_makes_other_layers_is_refused():
    with pytest.raises(ArgumentError, match="unlike.*: cannot be made anew: Unlike .* has other layers inside"):
        penalize.models.clone_model(Unlike())


class Attends(penalize.Model):
    def __init__(self):
        super().__init__()
        self.attention = layers.MultiHeadAttention(2, 3, kernel_regularizer="l2")
        self.nested = Scaled()

    def call(self, inputs):
        return self.nested(self.attention(inputs, inputs))


class Scaled(penalize.Layer):
    def build(self, input_shape):
        self.inside = Scale()

    def call(self, inputs):
        return self.inside(inputs)


def test_layers_that_are_made_when_others_are_built_are_cloned():
    x = torch.from_numpy(X[:, :, None].repeat(2, axis=2))
    subclass = Attends()
    subclass(x)
    inputs = penalize.Input((4, 2))
    attended = layers.MultiHeadAttention(2, 3, kernel_regularizer="l1")(query=inputs, value=inputs, key=inputs)
    for model in (subclass, penalize.Model(inputs, Scaled()(attended))):
        next(layer for layer in model.modules() if isinstance(layer, layers.EinsumDense)).trainable = False
        clone = clone_model(model)
        clone.set_weights(model.get_weights())
        torch.testing.assert_close(clone(x), model(x), rtol=0, atol=0)
        torch.testing.assert_close(clone.losses, model.losses, rtol=0, atol=0)
        assert [p.requires_grad for p in clone.parameters()] == [p.requires_grad for p in model.parameters()]
