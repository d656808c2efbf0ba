"""The traps of Keras 3.15.1, by number: what Keras does (run here, on torch) and what penalize does.

Those of files (T14, T15, T29 to T31, T45 to T47) stand in test_traps_of_files.py; T33 has no counterpart until there is LoRA.
"""

import copy

import keras
import numpy as np
import pytest
import torch

import penalize
from penalize import layers, regularizers
from penalize.errors import ArgumentError, ArrayError, PenaltyError, ShapeError, StrengthError, UnknownNameError
from penalize.models import clone_model

KL, KR = keras.layers, keras.regularizers
L1, L2 = regularizers.L1, regularizers.L2
X = np.ones((2, 4), "float32")
LIBRARIES = {"keras": keras, "penalize": penalize}


def values(layer):
    return [loss.item() for loss in layer.losses]


def ones_dense(library, **arguments):
    return library.layers.Dense(1, kernel_initializer="ones", **arguments)


def test_t01_time_distributed_pays_for_the_inner_layers_activity():
    x = np.ones((2, 3, 4), "float32")
    theirs = KL.TimeDistributed(KL.Dense(2, kernel_initializer="ones", activity_regularizer=KR.L1(1.0)))
    theirs(x)
    assert theirs.losses == []
    ours = layers.TimeDistributed(layers.Dense(2, kernel_initializer="ones", activity_regularizer=L1(1.0)))
    ours(x)
    assert values(ours) == [pytest.approx(2 * 3 * 2 * 4 / 2)]  # the whole output, divided by the batch


def test_t02_group_query_attention_pays_for_its_output_once():
    x = np.random.default_rng(0).normal(size=(2, 6, 4)).astype("float32")
    theirs = KL.GroupQueryAttention(3, 4, 2, activity_regularizer=KR.L1(1.0))
    y = theirs(x, x)
    ours = layers.GroupQueryAttention(3, 4, 2, activity_regularizer=L1(1.0))
    ours(x, x)
    ours.set_weights(theirs.get_weights())
    ours(x, x)
    output = y.abs().sum().item() / 2
    assert len(theirs.losses) == 5
    assert sum(loss == pytest.approx(output) for loss in values(theirs)) == 2
    assert len(ours.losses) == 4
    assert values(ours)[-1] == pytest.approx(output, rel=1e-5)
    assert sum(loss == pytest.approx(output) for loss in values(ours)) == 1


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_t03_states_that_a_recurrent_layer_returns_are_not_penalized(kind):
    x = np.ones((2, 3, 4), "float32")
    theirs = getattr(KL, kind)(2, return_state=True)
    theirs.activity_regularizer = KR.L1(1.0)
    theirs(x)
    assert len(theirs.losses) == (3 if kind == "LSTM" else 2)
    ours = getattr(layers, kind)(2, return_state=True, activity_regularizer=L1(1.0))
    output = ours(x)[0]
    assert values(ours) == [pytest.approx(output.abs().sum().item() / 2)]


def test_t04_a_cells_activity_is_paid_once_for_the_layers_output():
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    theirs = KL.RNN(KL.SimpleRNNCell(2, activity_regularizer=KR.L1(1.0)))
    theirs(x)
    assert len(theirs.losses) == 8
    for sequences in (False, True):
        for cell in (
            layers.SimpleRNNCell(2, activity_regularizer=L1(1.0)),
            [layers.LSTMCell(3), layers.GRUCell(2, activity_regularizer=L1(1.0))],
        ):
            ours = layers.RNN(cell, return_sequences=sequences)
            output = ours(x)
            assert values(ours) == [pytest.approx(output.abs().sum().item() / 2)]
    lstm = layers.LSTM(2)
    lstm.cell.activity_regularizer = L1(1.0)
    assert values(lstm) == []
    output = lstm(x)
    assert values(lstm) == [pytest.approx(output.abs().sum().item() / 2)]


def test_t05_nested_containers_list_their_losses_forward_at_every_depth():
    def nested(library):
        class Pays(library.layers.Layer):
            def __init__(self, value):
                super().__init__()
                self.value = value

            def call(self, inputs):
                self.add_loss((inputs * 0).sum() + self.value)
                return inputs

        inner = library.Sequential([Pays(2.0), library.Sequential([Pays(3.0), Pays(4.0)]), Pays(5.0)])
        model = library.Sequential([library.Input((4,)), Pays(1.0), inner, Pays(6.0)])
        model(torch.ones(2, 4))
        return values(model)

    assert nested(keras) == [1.0, 5.0, 4.0, 3.0, 2.0, 6.0]
    assert nested(penalize) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_t06_a_models_own_activity_regularizer_is_cloned():
    counts = {}
    for name, library in LIBRARIES.items():
        model = library.Sequential([library.Input((4,)), library.layers.Dense(1)])
        model.activity_regularizer = library.regularizers.L1(1.0)
        model(X)
        clone = library.models.clone_model(model)
        clone(X)
        counts[name] = len(model.losses), len(clone.losses)
    assert counts == {"keras": (1, 0), "penalize": (1, 1)}


def test_t07_a_functional_model_takes_an_activity_regularizer_and_refuses_unknown_keywords():
    i = keras.Input((4,))
    theirs = keras.Model(i, ones_dense(keras)(i), activity_regularizer="l2", nonsense=3)
    assert theirs.activity_regularizer is None
    theirs.activity_regularizer = KR.L2(1.0)
    with pytest.raises(NotImplementedError):
        theirs(X)
    i = penalize.Input((4,))
    ours = penalize.Model(i, ones_dense(penalize)(i), activity_regularizer="l2")
    ours(X)
    assert values(ours) == [pytest.approx(0.01 * 16)]
    ours.activity_regularizer = L2(1.0)
    ours(X)
    assert values(ours) == [16.0]
    with pytest.raises(ArgumentError, match="Model: unknown argument 'activity_regulariser': did you mean"):
        penalize.Model(i, ours.outputs[0], activity_regulariser="l2")


def test_t08_integers_are_refused_instead_of_costing_nothing():
    assert float(KR.L1(0.5)(keras.ops.ones((4, 4), dtype="int32"))) == 0.0
    for regularizer in (L1(0.5), L2(0.9), regularizers.L1L2(0.1, 0.1), regularizers.OrthogonalRegularizer()):
        with pytest.raises(ArrayError, match="real floating-point"):
            regularizer(torch.ones(4, 4, dtype=torch.int32))
    with pytest.raises(ArrayError, match="activation.*real floating-point"):
        layers.Activation(lambda x: x.long(), activity_regularizer="l1")(X)


def test_t09_a_float64_layer_has_a_float64_activity_penalty():
    x = np.full((1, 1), 1e20)
    theirs = KL.ActivityRegularization(l2=1.0, dtype="float64")
    theirs(x)
    assert (theirs.losses[0].dtype, theirs.losses[0].item()) == (torch.float32, float("inf"))
    ours = layers.ActivityRegularization(l2=1.0, dtype="float64")
    ours(x)
    assert (ours.losses[0].dtype, ours.losses[0].item()) == (torch.float64, pytest.approx(1e40))


def test_t10_half_precision_activity_penalties_neither_overflow_nor_lose_large_batches():
    x = np.full((64, 100), 10.0, "float32")
    rows = np.ones((70000, 1), "float32")
    results = {}
    for name, library in LIBRARIES.items():
        given = {"kernel_initializer": "ones", "bias_initializer": "ones", "dtype": "mixed_float16"}
        dense = library.layers.Dense(3, activity_regularizer=library.regularizers.L2(1e-4), **given)
        dense(x)
        identity = library.layers.ActivityRegularization(l1=1e-3, dtype="float16")
        identity(rows)
        results[name] = dense.losses[0].item(), identity.losses[0].item()
    assert results["keras"][0] == float("inf")
    assert np.isnan(results["keras"][1])
    assert results["penalize"] == (pytest.approx(3 * 1001.0**2 * 1e-4, rel=1e-3), pytest.approx(0.001, rel=1e-3))


def test_t11_strengths_below_half_precision_count():
    theirs = KR.L1(1e-8)(keras.ops.ones((10, 10), dtype="float16"))
    assert float(theirs) == 0.0
    assert L1(1e-8)(torch.ones(10, 10, dtype=torch.float16)).item() == pytest.approx(1e-6)
    assert L2(1e-8)(torch.ones(1000, 1000, dtype=torch.float16)).item() == pytest.approx(0.01)


def test_t12_orthogonal_has_finite_gradients_at_zero_and_any_scale_in_half_precision():
    zeros = torch.zeros(3, 4, requires_grad=True)
    KR.OrthogonalRegularizer(1.0)(zeros).backward()
    assert zeros.grad.isnan().any()
    zeros.grad = None
    regularizers.OrthogonalRegularizer(1.0)(zeros).backward()
    assert torch.equal(zeros.grad, torch.zeros(3, 4))
    scaled = {scale: torch.ones(3, 100, dtype=torch.float16) * scale for scale in (0.0, 1e-4, 200.0)}
    theirs = [float(KR.OrthogonalRegularizer(1.0)(w)) for w in scaled.values()]
    np.testing.assert_array_equal(theirs, [np.nan, np.nan, 0.0])
    ours = [regularizers.OrthogonalRegularizer(1.0)(w).item() for w in scaled.values()]
    assert ours == [0.0, pytest.approx(1.0), pytest.approx(1.0)]


def test_t13_a_rank_that_does_not_fit_is_refused_when_the_layer_is_built():
    image = np.ones((1, 8, 8, 3), "float32")
    theirs = KL.Conv2D(2, 3, kernel_regularizer="orthogonal_regularizer")
    theirs(image)
    with pytest.raises(ValueError, match="must have rank 2"):
        theirs.losses  # noqa: B018
    ours = layers.Conv2D(2, 3, kernel_regularizer="orthogonal_regularizer", name="first")
    with pytest.raises(ShapeError, match="first: kernel_regularizer: .*takes a matrix .*got rank 4.*flatten=True"):
        ours(image)
    flat = layers.Conv2D(2, 3, kernel_regularizer=regularizers.OrthogonalRegularizer(flatten=True))
    flat(image)
    assert len(flat.losses) == 1
    with pytest.raises(ShapeError, match=r"kernel_regularizer: .*got rank 4"):
        flat.kernel_regularizer = "orthogonal_regularizer"
    assert flat.kernel_regularizer.flatten


def test_t16_a_regularizer_set_after_building_is_the_one_that_is_trained_and_cloned():
    results = {}
    for name, library in LIBRARIES.items():
        layer = ones_dense(library, kernel_regularizer=library.regularizers.L2(0.5))
        model = library.Sequential([library.Input((4,)), layer])
        layer.kernel_regularizer = library.regularizers.L2(5.0)
        results[name] = values(model), values(library.models.clone_model(model))
    assert results == {"keras": ([2.0], [20.0]), "penalize": ([20.0], [20.0])}
    layer.kernel_regularizer = None
    assert values(model) == []


def test_t17_an_activity_regularizer_can_be_set_by_name():
    theirs = KL.Dense(1)
    theirs.activity_regularizer = "l2"
    with pytest.raises(TypeError, match="'str' object is not callable"):
        theirs(X)
    ours = ones_dense(penalize)
    ours.activity_regularizer = "l2"
    ours(X)
    assert values(ours) == [pytest.approx(0.16)]
    kept = ours.activity_regularizer
    with pytest.raises(UnknownNameError, match="activity_regularizer: .*'l3'.*did you mean"):
        ours.activity_regularizer = "l3"
    assert ours.activity_regularizer is kept


def test_t18_attention_keeps_its_activity_regularizer_however_it_is_set():
    assert KL.MultiHeadAttention(2, 3, activity_regularizer="l2").activity_regularizer is None
    theirs = KL.MultiHeadAttention(2, 3)
    theirs.activity_regularizer = KR.L2(0.5)
    assert theirs.get_config()["activity_regularizer"] is None
    x = torch.ones(2, 5, 4)
    for ours in (layers.MultiHeadAttention(2, 3, activity_regularizer=L2(0.5)), layers.MultiHeadAttention(2, 3)):
        ours.activity_regularizer = L2(0.5)
        assert ours.activity_regularizer.l2 == 0.5
        ours(x, x)
        assert len(ours.losses) == 4
        clone = layers.cloning.fresh_copy(ours)
        assert clone.activity_regularizer.l2 == 0.5
        assert clone.activity_regularizer is not ours.activity_regularizer


def test_t19_the_strengths_of_activity_regularization_are_its_regularizers():
    theirs = KL.ActivityRegularization(l1=1.0)
    theirs.l1 = 5.0
    theirs(X)
    assert values(theirs) == [4.0]
    ours = layers.ActivityRegularization(l1=1.0)
    ours.l1 = 5.0
    ours(X)
    assert values(ours) == [20.0]
    ours.activity_regularizer = L2(1.0)
    clone = layers.cloning.fresh_copy(ours)
    clone(X)
    assert values(clone) == [4.0]


def test_t20_an_unknown_name_is_an_error():
    assert KR.deserialize("nope") == "nope"
    for config in ("nope", {"class_name": "Nope", "config": {}}):
        with pytest.raises(UnknownNameError, match="[Nn]ope"):
            regularizers.deserialize(config)


def test_t21_the_alias_l1_l2_can_be_read():
    config = {"class_name": "l1_l2", "config": {"l1": 0.3, "l2": 0.1}}
    with pytest.raises(ValueError, match="l1_l2"):
        KR.get(config)
    assert regularizers.get(config).get_config() == {"l1": 0.3, "l2": 0.1}


def test_t22_strengths_are_real_numbers_of_any_library():
    assert KR.L2(True).l2 == 1.0
    for value in (np.int64(1), np.array(0.1), np.float32(0.1), np.float64(0.1), torch.tensor(0.1)):
        assert float(L2(value).l2) == pytest.approx(float(value))
    for value in (True, 10**400, float("nan"), float("inf"), -0.1, "0.1", None is None):
        with pytest.raises(StrengthError, match="l2 must be a finite real number >= 0"):
            L2(value)


def test_t23_strengths_are_exact():
    assert KR.L1(1e-50).get_config() == {"l1": 0.0}
    assert L1(1e-50).get_config() == {"l1": 1e-50}
    assert L1(0.1).get_config() == {"l1": 0.1}
    assert regularizers.OrthogonalRegularizer(0.1).get_config()["factor"] == 0.1


def test_t24_a_regularizer_that_returns_a_python_number_trains_and_the_base_class_says_what_is_missing():
    theirs = keras.Sequential([keras.Input((4,)), KL.Dense(1, kernel_regularizer=KR.Regularizer())])
    theirs.compile("sgd", "mse")
    with pytest.raises(AttributeError, match="'float' object has no attribute 'dtype'"):
        theirs.fit(X, X[:, :1], verbose=0)
    ours = penalize.Sequential([penalize.Input((4,)), layers.Dense(1, kernel_regularizer=lambda w: 3.0)])
    ours.compile("sgd", "mse")
    assert ours.fit(X, X[:, :1], verbose=0).history["penalty"] == [3.0]
    with pytest.raises(TypeError, match="abstract class Regularizer .*__call__"):
        regularizers.Regularizer()


def test_t25_what_build_adds_to_the_losses_is_kept():
    results = {}
    for name, library in LIBRARIES.items():

        class Adds(library.layers.Layer):
            def build(self, input_shape):
                self.add_loss(torch.tensor(7.0))

            def call(self, inputs):
                return inputs

        layer = Adds()
        layer(X)
        results[name] = values(layer)
    assert results == {"keras": [], "penalize": [7.0]}


def test_t26_activity_is_divided_by_axis_0_whatever_it_is():
    for library in LIBRARIES.values():

        class MeanOfBatch(library.layers.Layer):
            def call(self, inputs):
                return inputs.mean(0)

        layer = MeanOfBatch(activity_regularizer=library.regularizers.L1(1.0))
        layer(torch.ones(10, 5))
        assert values(layer) == [1.0]


def test_t27_masked_timesteps_are_penalized_unless_asked_otherwise():
    x = np.ones((2, 3, 4), "float32")
    x[:, 1:] = 0
    for library in LIBRARIES.values():
        given = {"kernel_initializer": "zeros", "bias_initializer": "ones"}
        dense = library.layers.Dense(1, activity_regularizer=library.regularizers.L1(1.0), **given)
        model = library.Sequential([library.Input((3, 4)), library.layers.Masking(), dense])
        model(x)
        assert values(model) == [3.0]
    dense = layers.Dense(1, activity_regularizer=L1(1.0), mask_activity=True, **given)
    model = penalize.Sequential([penalize.Input((3, 4)), layers.Masking(), dense])
    model(x)
    assert values(model) == [1.0]


def test_t28_calling_a_shared_layer_elsewhere_rewrites_what_its_models_report():
    for library in LIBRARIES.values():
        layer = ones_dense(library, activity_regularizer=library.regularizers.L1(1.0))
        model = library.Sequential([library.Input((4,)), layer])
        model(X)
        assert values(model) == [4.0]
        layer(100 * X)
        assert values(model) == [400.0]


def test_t32_a_loss_without_reduction_trains_beside_a_penalty():
    theirs = keras.Sequential([keras.Input((4,)), KL.Dense(1, kernel_regularizer="l2")])
    theirs.compile("sgd", keras.losses.MeanSquaredError(reduction=None))
    with pytest.raises(RuntimeError, match="stack expects each tensor to be equal size"):
        theirs.fit(X, X[:, :1], verbose=0)
    model = penalize.Sequential([penalize.Input((4,)), ones_dense(penalize, kernel_regularizer="l2")])
    model.compile("sgd", penalize.losses.MeanSquaredError(reduction=None))
    history = model.fit(X, X[:, :1], verbose=0).history
    assert history["loss"] == [pytest.approx(9.04)]
    assert history["penalty"] == [pytest.approx(0.04)]


def test_t34_both_tables_of_a_reversible_embedding_are_regularized():
    counts = []
    for library in LIBRARIES.values():
        layer = library.layers.ReversibleEmbedding(7, 5, tie_weights=False, embeddings_regularizer="l2")
        layer.build((None, 3))
        counts.append((len(layer.losses), len(layer.trainable_weights)))
    assert counts == [(1, 2), (2, 2)]


def test_t35_losses_read_inside_call_are_those_of_the_float32_weights():
    seen = {}
    for name, library in LIBRARIES.items():

        class Reads(library.layers.Layer):
            def build(self, input_shape):
                strength = self.regularizer_class(1.0)
                self.k = self.add_weight(shape=(300, 300), initializer="ones", regularizer=strength)

            def call(self, inputs):
                self.seen = self.losses[0].item()
                return inputs

        Reads.regularizer_class = library.regularizers.L2
        layer = Reads(dtype="mixed_float16")
        layer(X)
        seen[name] = layer.seen, layer.losses[0].item()
    assert seen == {"keras": (float("inf"), 90000.0), "penalize": (90000.0, 90000.0)}


def test_t36_a_strength_changed_between_fits_counts_at_once():
    for library in LIBRARIES.values():
        regularizer = library.regularizers.L2(0.5)
        layer = ones_dense(library, kernel_regularizer=regularizer, use_bias=False)
        model = library.Sequential([library.Input((4,)), layer])
        model.compile(library.optimizers.SGD(0.0), "mse")
        y = np.full((2, 1), 4.0, "float32")
        losses = model.fit(X, y, verbose=0).history["loss"]
        regularizer.l2 = 5.0
        losses += model.fit(X, y, verbose=0).history["loss"]
        assert losses == [2.0, 20.0]


def test_t37_a_frozen_model_stays_frozen_when_cloned():
    model = penalize.Sequential([penalize.Input((4,)), layers.Dense(1, kernel_regularizer="l2")])
    model.trainable = False
    clone = clone_model(model)
    assert not clone.trainable
    assert clone.losses == []
    assert not any(parameter.requires_grad for parameter in clone.parameters())


def test_t38_the_history_tells_the_penalty_from_the_loss():
    names = []
    for library in LIBRARIES.values():
        model = library.Sequential([library.Input((4,)), library.layers.Dense(1, kernel_regularizer="l2")])
        model.compile("sgd", "mse")
        names.append(list(model.fit(X, X[:, :1], verbose=0).history))
    assert names == [["loss"], ["loss", "penalty"]]


def test_t39_a_zero_strength_is_a_zero_entry_on_infinite_weights_too():
    infinite = torch.full((2, 2), float("inf"))
    assert np.isnan(float(KR.L2(0.0)(infinite)))
    zeros = (L1(0.0), L2(0.0), regularizers.L1L2(0.0, 0.0), regularizers.OrthogonalRegularizer(0.0))
    for regularizer in zeros:
        assert regularizer(infinite).item() == 0.0
        layer = ones_dense(penalize, kernel_regularizer=regularizer)
        layer(X)
        assert values(layer) == [0.0]


def test_t40_a_functional_model_takes_a_symbolic_loss():
    i = keras.Input((4,))
    o = ones_dense(keras)(i)
    with pytest.raises(NotImplementedError):
        keras.Model(i, o).add_loss(keras.ops.sum(o))
    i = penalize.Input((4,))
    o = ones_dense(penalize)(i)
    model = penalize.Model(i, o)
    model.add_loss(penalize.ops.sum(o))
    model(X)
    assert values(model) == [8.0]
    model(2 * X)
    assert values(model) == [16.0]


def test_t41_mixed_precision_trains_with_an_activity_penalty():
    model = penalize.Sequential(
        [penalize.Input((4,)), layers.Dense(2, dtype="mixed_bfloat16", activity_regularizer="l2")]
    )
    model.compile("sgd", "mse")
    history = model.fit(X, np.zeros((2, 2), "float32"), epochs=2, verbose=0).history
    assert history["penalty"][1] < history["penalty"][0]


def test_t42_a_subclassed_models_own_activity_regularizer_is_part_of_fit_and_evaluate():
    class Net(penalize.Model):
        def __init__(self, **arguments):
            super().__init__(**arguments)
            self.dense = ones_dense(penalize)

        def call(self, inputs):
            return self.dense(inputs)

    model = Net(activity_regularizer="l2")
    model.compile(penalize.optimizers.SGD(0.0), "mse")
    assert model.fit(X, X[:, :1], verbose=0).history["loss"] == [pytest.approx(9.16)]
    assert model.evaluate(X, X[:, :1], verbose=0) == pytest.approx(9.16)


def test_t43_orthogonal_takes_every_floating_dtype():
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        assert regularizers.OrthogonalRegularizer(1.0)(torch.ones(4, 4, dtype=dtype)).item() == pytest.approx(1.0)
    assert float(regularizers.OrthogonalRegularizer(1.0)(np.ones((4, 4)))) == pytest.approx(1.0)


def test_t44_freezing_after_a_fit_takes_effect_in_fit_and_evaluate():
    for library in LIBRARIES.values():
        layer = ones_dense(library, kernel_regularizer=library.regularizers.L2(0.5), use_bias=False)
        tail = ones_dense(library, use_bias=False)
        model = library.Sequential([library.Input((4,)), layer, tail])
        model.compile(library.optimizers.SGD(0.0), "mse")
        y = np.full((2, 1), 4.0, "float32")
        first = model.fit(X, y, verbose=0).history["loss"]
        layer.trainable = False
        assert first == [2.0]
        assert model.fit(X, y, verbose=0).history["loss"] == [0.0]
        assert model.evaluate(X, y, verbose=0) == 0.0


def test_t48_orthogonal_normalizes_tiny_rows():
    tiny = torch.ones(2, 3) * 1e-9
    assert float(KR.OrthogonalRegularizer(1.0)(tiny)) < 0.01
    assert regularizers.OrthogonalRegularizer(1.0)(tiny).item() == pytest.approx(1.0)


def test_the_string_l1_l2_has_its_documented_strengths():
    with pytest.raises(ValueError, match="l1_l2"):
        KR.get("l1_l2")
    assert KR.get("l1l2").get_config() == {"l1": 0.0, "l2": 0.0}
    for name in ("l1_l2", "l1l2"):
        assert regularizers.get(name).get_config() == {"l1": 0.01, "l2": 0.01}


def test_a_regularizer_that_gives_nan_or_no_single_number_is_refused_by_layer_and_argument():
    with pytest.raises(PenaltyError, match="head: kernel_regularizer: the regularizer <lambda> .*got NaN for finite"):
        layers.Dense(1, kernel_regularizer=lambda w: (w - w).sum() / 0, name="head")(X)
    with pytest.raises(
        PenaltyError, match="head: kernel_regularizer: the regularizer <lambda> .*got a tensor of shape"
    ):
        layers.Dense(1, kernel_regularizer=lambda w: w, name="head")(X)
    layer = layers.Dense(1, activity_regularizer=lambda y: (y - y).sum() / 0, name="head")
    with pytest.raises(PenaltyError, match="head: the regularizer <lambda> .*got NaN for finite values"):
        layer(X)
    layer = layers.Dense(1, name="head")
    layer(X)
    before = copy.copy(layer.kernel_regularizer)
    with pytest.raises(PenaltyError, match="head: kernel_regularizer: .*got NoneType"):
        layer.kernel_regularizer = lambda w: None
    assert layer.kernel_regularizer is before
    penalties = penalize.attach(layer, weights={"weight": "l2"})
    with pytest.raises(ShapeError, match="bias: .*got rank 1"):
        penalize.attach(layer, weights={"bias": "orthogonal_regularizer"})
    with pytest.raises(PenaltyError, match="weight: .*got NoneType"):
        penalties["weight"].regularizer = lambda w: None
    assert isinstance(penalties["weight"].regularizer, L2)
