"""Sequential and Model: training, what is reported, data of every kind, and wrong input."""

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import penalize
from penalize import layers
from penalize.errors import (
    ArgumentError,
    BindError,
    DataError,
    NotBuiltError,
    NotCompiledError,
    ShapeError,
    UnknownNameError,
)
from penalize.models.data import ArrayData
from penalize.regularizers import L1, L2

X = np.random.default_rng(0).normal(size=(50, 4)).astype("float32")
Y = (X @ np.array([1.0, -2.0, 0.0, 0.5])).astype("float32")


def regression(**kwargs):
    return penalize.Sequential([penalize.Input((4,)), layers.Dense(1, **kwargs)])


def test_the_loss_is_data_plus_penalty_weighted_by_samples():
    """Keras's own example: rows 2..10, mse, L1(1) on the activity, batches of 2, 2 and 1."""
    model = penalize.Sequential(
        [penalize.Input((1,)), layers.Dense(1, kernel_initializer="ones", use_bias=False, activity_regularizer=L1(1.0))]
    )
    x = np.arange(2.0, 11.0, 2.0).reshape(5, 1)
    model.compile(penalize.optimizers.SGD(0.0), "mse")
    history = model.fit(x, np.zeros(5), batch_size=2, shuffle=False, verbose=0)
    assert history.history["loss"] == [pytest.approx(50.0)]
    assert history.history["penalty"] == [pytest.approx((3 * 2 + 7 * 2 + 10) / 5)]
    assert model.evaluate(x, np.zeros(5), batch_size=2, verbose=0) == pytest.approx(50.0)
    assert model.evaluate(x, np.zeros(5), batch_size=2, verbose=0, return_dict=True) == {
        "loss": pytest.approx(50.0),
        "penalty": pytest.approx(6.0),
    }


def test_fit_learns_and_logs_metrics_and_validation():
    model = regression(kernel_regularizer=L2(1e-3))
    model.compile(penalize.optimizers.Adam(0.05), "mse", metrics=["mae"])
    history = model.fit(X, Y, epochs=30, validation_split=0.2, verbose=0)
    assert set(history.history) == {"loss", "penalty", "mae", "val_loss", "val_penalty", "val_mae"}
    assert all(len(values) == 30 for values in history.history.values())
    assert history.history["val_loss"][-1] < 0.1 * history.history["val_loss"][0]
    assert history.epoch == list(range(30))
    loss, mae = model.evaluate(X[40:], Y[40:], verbose=0)
    assert loss == pytest.approx(history.history["val_loss"][-1], rel=1e-5)
    assert mae == pytest.approx(history.history["val_mae"][-1], rel=1e-5)
    prediction = model.predict(X, batch_size=7, verbose=0)
    assert prediction.shape == (50, 1)
    assert np.abs(prediction[40:, 0] - Y[40:]).mean() == pytest.approx(mae, rel=1e-4)


@pytest.mark.parametrize("kind", ["arrays", "tensors", "loader", "lists"])
def test_data_of_every_kind_train_alike(kind):
    results = []
    for own in ("arrays", kind):
        model = regression(kernel_initializer="zeros", kernel_regularizer="l2")
        model.compile("sgd", "mse")
        if own == "loader":
            data = DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), batch_size=32)
            model.fit(data, epochs=2, verbose=0)
            model.evaluate(data, verbose=0)
            assert model.predict(data, verbose=0).shape == (50, 1)
        else:
            convert = {"arrays": lambda a: a, "tensors": torch.from_numpy, "lists": lambda a: a.tolist()}[own]
            model.fit(convert(X), convert(Y), epochs=2, shuffle=False, verbose=0)
        results.append(model.get_weights())
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_sample_and_class_weights_scale_the_data_loss_only():
    model = penalize.Sequential(
        [penalize.Input((1,)), layers.Dense(1, kernel_initializer="ones", kernel_regularizer=L2(2.0), use_bias=False)]
    )
    model.compile(penalize.optimizers.SGD(0.0), "mse")
    x, y = np.array([[1.0], [2.0]]), np.array([0, 1])
    weighted = model.fit(x, y, sample_weight=np.array([3.0, 0.0]), verbose=0).history
    assert (weighted["loss"][0], weighted["penalty"][0]) == (pytest.approx(1.5 + 2), pytest.approx(2.0))
    assert model.evaluate(x, y, sample_weight=np.zeros(2), verbose=0) == pytest.approx(2.0)
    by_class = model.fit(x, y, class_weight={0: 3.0, 1: 0.0}, verbose=0).history
    assert by_class["loss"] == weighted["loss"]
    assert model.fit(x, y, validation_data=(x, y, np.zeros(2)), verbose=0).history["val_loss"] == [pytest.approx(2.0)]
    partly = model.fit(x, y, class_weight={1: 0.0}, verbose=0).history
    assert partly["loss"] == [pytest.approx(0.5 + 2)]
    for bad, message in (
        ("balanced", "class_weight must be a dict from classes to weights, got 'balanced'"),
        ({0: "a"}, r"class_weight\[0\] must be a number >= 0, got 'a'"),
        ({-1: 1.0}, "class_weight's class must be an integer >= 0, got -1"),
    ):
        with pytest.raises(ArgumentError, match=message):
            model.fit(x, y, class_weight=bad, verbose=0)


def test_a_second_fit_goes_on_where_the_first_stopped():
    both = []
    for parts in ((4,), (2, 2)):
        model = regression(kernel_initializer="ones", kernel_regularizer="l1_l2")
        model.compile("adam", "mse")
        for epochs in parts:
            model.fit(X, Y, epochs=epochs, shuffle=False, verbose=0)
        both.append(model.get_weights())
    for got, expected in zip(*both, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_strength_changed_between_fits_is_honoured():
    strength = L2(0.5)
    model = regression(kernel_initializer="ones", use_bias=False, kernel_regularizer=strength)
    model.compile(penalize.optimizers.SGD(0.0), "mse")
    data = X[:2], X[:2].sum(1)
    assert model.fit(*data, verbose=0).history["loss"] == [pytest.approx(2.0)]
    strength.l2 = 5.0
    assert model.fit(*data, verbose=0).history["loss"] == [pytest.approx(20.0)]


def test_penalties_alone_can_be_trained_on():
    model = regression(kernel_initializer="ones", kernel_regularizer=L2(0.5), use_bias=False)
    model.compile(penalize.optimizers.SGD(0.1))
    assert model.fit(X[:4], batch_size=4, verbose=0).history["loss"] == [pytest.approx(2.0)]
    np.testing.assert_allclose(model.get_weights()[0], 0.9, rtol=1e-6)
    bare = regression()
    bare.compile("sgd")
    with pytest.raises(DataError, match="there is nothing to minimize: compile with a loss, or add penalties"):
        bare.fit(X, verbose=0)


def test_a_loss_without_reduction_is_averaged():
    model = regression(kernel_regularizer="l2")
    model.compile("sgd", penalize.losses.MeanSquaredError(reduction=None))
    other = regression(kernel_regularizer="l2")
    other.set_weights(model.get_weights())
    other.compile("sgd", "mse")
    history = [m.fit(X, Y, shuffle=False, verbose=0).history["loss"] for m in (model, other)]
    assert history[0] == pytest.approx(history[1])


@pytest.mark.parametrize(
    "optimizer",
    ["adam", "SGD", penalize.optimizers.RMSprop(1e-3), torch.optim.AdamW, penalize.optimizers.Adam],
)
def test_optimizers_by_name_spec_and_class(optimizer):
    model = regression(kernel_regularizer="l2")
    before = model.get_weights()[0].copy()
    model.compile(optimizer, nn.MSELoss())
    model.fit(X, Y, verbose=0)
    assert isinstance(model.optimizer, torch.optim.Optimizer)
    assert not np.array_equal(model.get_weights()[0], before)


def test_an_optimizer_of_ones_own():
    model = regression()
    own = torch.optim.SGD(model.parameters(), lr=0.1)
    model.compile(own, "mse")
    model.fit(X, Y, verbose=0)
    assert model.optimizer is own
    stranger = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    model.compile(stranger, "mse")
    with pytest.raises(ArgumentError, match="the optimizer holds none of the model's parameters"):
        model.fit(X, Y, verbose=0)


def test_the_default_epsilon_is_kerass():
    assert penalize.optimizers.Adam().epsilon == 1e-7


def test_from_logits_and_probabilities_agree():
    labels = (Y > 0).astype("int64")
    results = []
    for activation, logits in (("softmax", False), (None, True)):
        model = penalize.Sequential([penalize.Input((4,)), layers.Dense(2, activation, kernel_initializer="zeros")])
        loss = penalize.losses.SparseCategoricalCrossentropy(from_logits=logits)
        model.compile("sgd", loss, metrics=["accuracy"])
        results.append(model.fit(X, labels, epochs=3, shuffle=False, verbose=0).history)
    assert results[0]["loss"] == pytest.approx(results[1]["loss"], rel=1e-5)
    assert results[0]["accuracy"] == results[1]["accuracy"]


def test_lightning_callbacks_see_the_logs():
    seen = []

    class Watch(pl.Callback):
        def on_validation_end(self, trainer, module):
            seen.append({name: float(value) for name, value in trainer.callback_metrics.items()})

    model = regression(kernel_regularizer="l2")
    model.compile("sgd", "mse")
    stop = pl.callbacks.EarlyStopping(monitor="val_loss", patience=0, min_delta=1e9)
    history = model.fit(X, Y, epochs=10, validation_split=0.5, callbacks=[Watch(), stop], verbose=0)
    assert len(history.epoch) == 2
    assert seen[0]["val_loss"] == pytest.approx(history.history["val_loss"][0])
    with pytest.raises(ArgumentError, match=r"callbacks must be lightning.pytorch.Callback objects, got str"):
        model.fit(X, Y, callbacks=["stop"], verbose=0)


def test_trainer_options_reach_lightning():
    model = regression(kernel_regularizer="l2")
    model.compile("sgd", "mse")
    history = model.fit(X, Y, trainer={"limit_train_batches": 1, "precision": "bf16-mixed"}, verbose=0)
    assert np.isfinite(history.history["loss"][0])
    with pytest.raises(ArgumentError, match="trainer: .*no_such_option"):
        model.fit(X, Y, trainer={"no_such_option": 1}, verbose=0)


def test_lines_an_epoch_and_silence(capsys):
    model = regression(kernel_regularizer="l2")
    model.compile("sgd", "mse")
    model.fit(X, Y, epochs=2, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("Epoch 1/2 - loss: ")
    assert " - penalty: " in lines[0]
    model.fit(X, Y, verbose=0)
    model.fit(X, Y)
    model.evaluate(X, Y)
    model.predict(X)
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


def test_modes_are_kept():
    model = penalize.Sequential([penalize.Input((4,)), layers.Dense(4), layers.Dropout(0.9), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.eval()
    model.layers[1].train()
    model.fit(X, Y, verbose=0)
    model.predict(X, verbose=0)
    assert [module.training for module in (model, *model.layers)] == [False, False, True, False]
    np.testing.assert_array_equal(model.predict(X, verbose=0), model.predict(X, verbose=0))


def test_frozen_layers_do_not_train():
    model = penalize.Sequential(
        [penalize.Input((4,)), layers.Dense(3, kernel_regularizer="l2"), layers.Dense(1, kernel_regularizer="l2")]
    )
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    same = [np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert same == [True, True, False, False]
    assert len(model.losses) == 1
    model.trainable = False
    model.layers[0].activity_regularizer = "l1"
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="has no trainable weights: fit reports its loss, and changes nothing"):
        history = model.fit(X, Y, verbose=0).history
    assert history["penalty"][0] > 0


def test_layers_build_when_their_input_is_known():
    lazy = penalize.Sequential([layers.Dense(3), layers.Dense(1)])
    assert not lazy.built
    assert lazy.losses == []
    with pytest.raises(NotBuiltError, match=r"sequential.* is not built"):
        lazy.summary()
    lazy.compile("sgd", "mse")
    lazy.fit(X, Y, verbose=0)
    assert [w.shape for w in lazy.get_weights()] == [(4, 3), (3,), (3, 1), (1,)]
    for first in (layers.Dense(3, input_shape=(4,)), layers.Dense(3, input_dim=4)):
        model = penalize.Sequential([first])
        assert model.built
        assert model.input_shape == (None, 4)
    by_hand = penalize.Sequential([layers.Dense(3)])
    by_hand.build((None, 4))
    assert by_hand.count_params() == 15
    varying = penalize.Sequential([penalize.Input((None, 4)), layers.Dense(3)])
    assert not varying.built
    assert varying(torch.ones(2, 7, 4)).shape == (2, 7, 3)
    assert varying.built


def test_add_pop_and_get_layer():
    model = penalize.Sequential(name="mine")
    model.add(penalize.Input((4,)))
    model.add(layers.Dense(3, name="a"))
    model.add(layers.Dense(2, name="b"))
    assert model.get_layer("b") is model.get_layer(index=1) is model.layers[-1]
    assert model.pop().name == "b"
    model.add(layers.Dense(5, name="c"))
    assert model(torch.ones(1, 4)).shape == (1, 5)
    assert model.output_shapes == [(None, 3), (None, 5)]
    for call, message in (
        (lambda: model.get_layer("d"), "mine has no layer 'd'"),
        (lambda: model.get_layer(index=7), "mine has 2 layers, got index 7"),
        (lambda: model.get_layer(), "either a name or an index"),
        (lambda: model.add(layers.Dense(1, name="a")), "there is a layer named 'a' already"),
        (lambda: model.add("dense"), "a layer must be a Layer or another nn.Module, got str"),
        (lambda: model.add(penalize.Input((3,))), "an Input can only be the first"),
        (lambda: penalize.Sequential().pop(), "there is no layer to remove"),
        (lambda: penalize.Sequential([penalize.Input((4,)), nn.Linear(3, 1)]), "cannot take inputs of shape"),
    ):
        with pytest.raises(ArgumentError, match=message):
            call()
    with pytest.raises(ShapeError, match=r"expected inputs of shape \(None, 4\), got \(1, 5\)"):
        model(torch.ones(1, 5))


def test_torch_modules_are_layers_too():
    model = penalize.Sequential(
        [penalize.Input((4,)), nn.Linear(4, 3), nn.ReLU(), layers.Dense(1, kernel_regularizer="l2")]
    )
    model.compile("sgd", "mse")
    assert model.fit(X, Y, verbose=0).history["penalty"][0] > 0


def test_the_summary_shows_which_regularizer_sits_on_what(capsys):
    model = penalize.Sequential(
        [
            penalize.Input((4,)),
            layers.Dense(3, kernel_regularizer=L2(0.1), activity_regularizer="l1", name="first"),
            penalize.Sequential([layers.Dense(2, bias_regularizer=L1(0.2), name="inside")], name="nested"),
        ],
        name="whole",
    )
    model.layers[0].trainable = False
    model.summary()
    text = capsys.readouterr().out
    for part in ("whole", "first (Dense)", "(None, 3)", "kernel: L2(l2=0.1)", "activity: L1(l1=0.01)", "inside.bias:"):
        assert part in text
    assert "Parameters: 23, of which trainable: 8, frozen: 15" in text


def test_a_subclassed_model_trains_in_fit_and_in_a_loop_of_ones_own():
    class Net(penalize.Model):
        def __init__(self):
            super().__init__()
            self.hidden = layers.Dense(8, "relu", kernel_regularizer=L2(1e-3), activity_regularizer=L1(1e-3))
            self.head = layers.Dense(1)

        def call(self, inputs):
            return self.head(self.hidden(inputs))

    model = Net()
    optimizer = torch.optim.Adam
    model.compile(optimizer, "mse")
    losses = model.fit(X, Y, epochs=80, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]
    model = Net()
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    model(x)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    first = None
    for _ in range(40):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x)[:, 0], y) + sum(model.losses)
        first = first or loss.item()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * first


def test_layers_in_lists_and_dicts_are_part_of_the_model():
    class Blocks(penalize.Model):
        def __init__(self, late):
            super().__init__()
            self.blocks = [] if late else [layers.Dense(4, "relu", kernel_regularizer=L2(0.1)) for _ in range(2)]
            self.heads = {"one": layers.Dense(1)}
            if late:
                self.blocks += [layers.Dense(4, "relu", kernel_regularizer=L2(0.1)) for _ in range(2)]

        def call(self, inputs):
            for block in self.blocks:
                inputs = block(inputs)
            return self.heads["one"](inputs)

    for late in (False, True):
        model = Blocks(late)
        model.compile("adam", "mse")
        history = model.fit(X, Y, verbose=0).history
        assert history["penalty"][0] > 0
        assert len(model.losses) == 2
        assert model.count_params() == 2 * 20 + 5
        assert sorted(model.state_dict()) == sorted(
            f"{name}.{part}" for name in ("blocks.0", "blocks.1", "heads.one") for part in ("weight", "bias")
        )


def test_penalties_bound_to_another_optimizer_are_refused():
    model = regression()
    own = torch.optim.SGD(model.parameters(), lr=0.1)
    penalties = penalize.attach(model, weights={"*": L2(1.0)}).bind(own)
    model.compile("sgd", "mse")
    with pytest.raises(BindError, match="its penalties are bound to another optimizer than fit uses"):
        model.fit(X, Y, verbose=0)
    assert penalties.optimizer is own
    before = model.get_weights()[0]
    model.compile(own)
    assert model.fit(X[:4], verbose=0).history["penalty"][0] > 0
    np.testing.assert_allclose(model.get_weights()[0], 0.8 * before, rtol=1e-6)


def test_unfrozen_layers_join_the_training():
    model = penalize.Sequential([penalize.Input((4,)), layers.Dense(3), layers.Dense(1)])
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    model.layers[0].trainable = True
    before = model.get_weights()[0]
    model.fit(X, Y, verbose=0)
    assert not np.array_equal(model.get_weights()[0], before)


def test_integers_and_read_only_arrays_are_inputs_too():
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    x.flags.writeable = False
    model = penalize.Sequential([layers.Dense(4, "relu"), layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(x, np.array([0, 1, 1, 0]), verbose=0)
    image = np.ones((2, 5, 5, 1), dtype="uint8")
    assert layers.Conv2D(2, 3)(image).dtype == torch.float32
    assert layers.DepthwiseConv2D(3)(image).dtype == torch.float32


def test_models_keep_the_dtype_of_torch():
    x = torch.randn(2, 4, dtype=torch.float64)
    mixed = nn.Sequential(nn.Linear(4, 3), layers.Dropout(0.5), layers.Flatten(), nn.Linear(3, 2)).double()
    assert mixed(x).dtype == torch.float64
    whole = penalize.Sequential([penalize.Input((1,)), layers.Dense(1, kernel_initializer="ones")]).double()
    assert whole(np.array([[0.1]])).item() == 0.1


def test_loaders_without_a_length():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter([(torch.from_numpy(a), torch.tensor(b)) for a, b in zip(X[:6], Y[:6], strict=True)])

    model = regression(kernel_regularizer="l2")
    model.compile("sgd", "mse")
    history = model.fit(DataLoader(Stream(), batch_size=2), verbose=0)
    assert history.params["batches"] is None
    assert history.history["penalty"][0] > 0


def test_attached_penalties_are_trained_on_bound_or_not():
    by_rule = {"0.weight": L2(0.3), "0.bias": L1(0.1)}
    finals, logs = [], []
    for way in ("declared", "attached", "bound"):
        declared = {"kernel_regularizer": L2(0.3), "bias_regularizer": L1(0.1)} if way == "declared" else {}
        model = regression(kernel_initializer="ones", activity_regularizer=L2(0.01), **declared)
        own = torch.optim.Adam(model.parameters(), lr=0.05)
        model.compile(own, "mse")
        if way != "declared":
            penalties = penalize.attach(model, weights=by_rule)
        if way == "bound":
            penalties.bind(own)
        logs.append(model.fit(X, Y, epochs=3, shuffle=False, validation_data=(X, Y), verbose=0).history)
        finals.append(model.get_weights())
    for other, log in zip(finals[1:], logs[1:], strict=True):
        for got, expected in zip(other, finals[0], strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5)
        for name in ("loss", "penalty", "val_loss", "val_penalty"):
            assert log[name] == pytest.approx(logs[0][name], rel=1e-5)
    penalize.attach(model, weights=by_rule)
    with pytest.raises(ArgumentError, match=r"fit takes the penalties of one attach\(\), got those of 2"):
        model.fit(X, Y, verbose=0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": None}, DataError, "x must be an array, a tensor or a DataLoader, got None"),
        ({"x": X[:3]}, DataError, "arrays must have the same length, got x 3, y 50"),
        ({"x": [X, X]}, ShapeError, r"input.*: expected one tensor of shape \(None, 4\), got tuple of 2"),
        ({"y": [Y, Y]}, DataError, "y must be one array, got list of 2"),
        ({"x": {"a": X}}, ShapeError, "expected one tensor of shape .*, got dict of 1"),
        ({"x": X[:0], "y": Y[:0]}, DataError, "x is empty"),
        ({"x": np.array(["a"] * 50)}, DataError, "x must hold numbers, got an array of dtype"),
        ({"y": None}, DataError, "the loss needs targets, but the data have no y"),
        ({"batch_size": 0}, ArgumentError, "batch_size must be an integer >= 1, got 0"),
        ({"epochs": -1}, ArgumentError, "fit: epochs must be an integer >= 0, got -1"),
        ({"validation_split": 1.5}, ArgumentError, "validation_split must be a number between 0 and 1, got 1.5"),
        ({"validation_split": 0.999}, ArgumentError, "leaves no sample"),
        (
            {"validation_split": 0.5, "validation_data": (X, Y)},
            ArgumentError,
            "either validation_split or validation_data",
        ),
        ({"validation_data": X}, DataError, "validation_data must be"),
        ({"sample_weight": np.ones(3)}, DataError, "sample_weight 3"),
        ({"verbose": 7}, ArgumentError, 'verbose must be "auto", 0, 1 or 2, got 7'),
    ],
)
def test_bad_data_and_arguments_are_refused(arguments, error, message):
    model = regression()
    model.compile("sgd", "mse")
    before = model.get_weights()[0].copy()
    with pytest.raises(error, match=message):
        model.fit(**{"x": X, "y": Y, "verbose": 0, **arguments})
    np.testing.assert_array_equal(model.get_weights()[0], before)


def test_what_cannot_be_compiled_or_used():
    model = regression()
    for use in (lambda: model.fit(X, Y), lambda: model.evaluate(X, Y)):
        with pytest.raises(NotCompiledError, match="compile the model before"):
            use()
    assert model.predict(X, verbose=0).shape == (50, 1)
    model.compile(None, "mse")
    assert model.evaluate(X, Y, verbose=0) > 0
    with pytest.raises(NotCompiledError, match="compiled without an optimizer, which fit needs"):
        model.fit(X, Y)
    with pytest.raises(UnknownNameError, match="did you mean 'adam'"):
        model.compile("adaam", "mse")
    with pytest.raises(UnknownNameError, match="unknown loss"):
        model.compile("adam", "msee")
    with pytest.raises(UnknownNameError, match="unknown metric"):
        model.compile("adam", "mse", metrics=["acuracy"])
    with pytest.raises(ArgumentError, match="metrics must be a list such as"):
        model.compile("adam", "mse", metrics="accuracy")
    loader = DataLoader(ArrayData(X, Y), batch_size=5, collate_fn=lambda b: b)
    model.compile("sgd", "mse")
    with pytest.raises(DataError, match="y must not be given beside a DataLoader"):
        model.fit(loader, Y, verbose=0)
    with pytest.raises(DataError, match="the DataLoader is empty"):
        lazy = penalize.Sequential([layers.Dense(1)])
        lazy.compile("sgd", "mse")
        lazy.fit(DataLoader([], batch_size=2), verbose=0)
