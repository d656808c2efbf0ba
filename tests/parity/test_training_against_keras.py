"""Twenty steps beside Keras: the same weights, the same batches, kernel, bias and activity penalties together."""

from collections import namedtuple

import keras
import numpy as np
import pytest
import torch

import penalize
from penalize.errors import DataError

STEPS = 20


def parts(library, kind, dtype):
    layers, regularizers = library.layers, library.regularizers
    if kind == "dense":
        return [
            library.Input((6,), dtype=dtype),
            layers.Dense(
                dtype=dtype,
                units=8,
                activation="tanh",
                kernel_regularizer=regularizers.L1L2(1e-3, 2e-3),
                bias_regularizer=regularizers.L2(1e-2),
                activity_regularizer=regularizers.L2(1e-2),
            ),
            layers.Dense(
                dtype=dtype,
                units=3,
                activation="softmax",
                kernel_regularizer=regularizers.OrthogonalRegularizer(0.05, mode="columns"),
                bias_regularizer=regularizers.L1(1e-3),
                activity_regularizer=regularizers.L1(1e-2),
            ),
        ]
    return [
        library.Input((8, 8, 2), dtype=dtype),
        layers.Conv2D(
            filters=4,
            kernel_size=3,
            dtype=dtype,
            strides=2,
            padding="same",
            activation="relu",
            kernel_regularizer=regularizers.L1(1e-3),
            bias_regularizer=regularizers.L2(1e-2),
            activity_regularizer=regularizers.L1(1e-3),
        ),
        layers.MaxPooling2D(2, dtype=dtype),
        layers.Flatten(dtype=dtype),
        layers.Dense(
            3, activation="softmax", kernel_regularizer=regularizers.L2(1e-2), activity_regularizer="l2", dtype=dtype
        ),
    ]


def relative(got, expected):
    return float(np.max(np.abs(got - expected)) / max(np.max(np.abs(expected)), 1e-12))


def trained(kind, optimizer, dtype):
    """The largest relative differences of any weight, of the reported losses, and of evaluate, after 20 steps."""
    random = np.random.default_rng(0)
    shape = (6,) if kind == "dense" else (8, 8, 2)
    x = random.normal(size=(STEPS * 8, *shape)).astype(dtype)
    y = random.integers(0, 3, size=STEPS * 8)
    theirs = keras.Sequential(parts(keras, kind, dtype))
    ours = penalize.Sequential(parts(penalize, kind, dtype))
    theirs.set_weights([random.normal(size=w.shape) * 0.3 for w in theirs.get_weights()])
    ours.set_weights(theirs.get_weights())
    makers = {
        "sgd": lambda library: library.optimizers.SGD(0.05, momentum=0.9),
        "adam": lambda library: library.optimizers.Adam(0.01),
    }
    logs = []
    for library, model in ((keras, theirs), (penalize, ours)):
        model.compile(makers[optimizer](library), "sparse_categorical_crossentropy", metrics=["accuracy"])
        inputs = x if library is keras else torch.from_numpy(x)
        history = model.fit(inputs, y, batch_size=8, epochs=1, shuffle=False, verbose=0).history
        evaluated = model.evaluate(inputs, y, batch_size=32, verbose=0)
        logs.append([history["loss"][0], history["accuracy"][0], *evaluated])
    weights = [relative(a, b) for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True)]
    return max(weights), relative(np.array(logs[1]), np.array(logs[0]))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("kind", ["dense", "convolution"])
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float64", 1e-6)])
def test_twenty_steps_stay_beside_keras(kind, optimizer, dtype, bound):
    """In float64 what is left comes from Keras's own float32 learning rate and activity penalties."""
    weights, losses = trained(kind, optimizer, dtype)
    assert weights < bound
    assert losses < 1e-6


Rows = namedtuple("Rows", "x y weight")


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("kind", ["array", "list", "tuple", "dict", "named tuple"])
def test_batches_of_numpy_arrays_train_as_keras_does_on_the_arrays(kind, dtype):
    random = np.random.default_rng(0)
    first, second = (random.normal(size=(20, 3)).astype(dtype) for _ in range(2))
    y, weight = random.normal(size=(20, 1)), random.random(20)
    several = kind in ("list", "tuple", "dict")
    held = {"list": list, "tuple": tuple, "dict": lambda pair: dict(zip("ab", pair, strict=True))}.get(kind)

    def collate(rows):
        x = held([first[rows], second[rows]]) if several else first[rows]
        return Rows(x, y[rows], weight[rows]) if kind == "named tuple" else (x, y[rows], weight[rows])

    results = []
    for library in (keras, penalize):
        a, b = (library.Input((3,), name=name) for name in "ab")
        merged = library.layers.Concatenate()([a, b]) if several else a
        output = library.layers.Dense(1, kernel_regularizer="l2", activity_regularizer="l1", kernel_initializer="ones")(
            merged
        )
        model = library.Model({"a": a, "b": b} if kind == "dict" else [a, b] if several else a, output)
        model.compile(library.optimizers.SGD(0.01), "mse")
        if library is keras:
            x = [first, second] if kind == "tuple" else held([first, second]) if several else first
            given = {"x": x, "y": y, "sample_weight": weight, "batch_size": 8, "verbose": 0}
            history = model.fit(**given, epochs=2, shuffle=False, validation_data=(x, y, weight)).history
            evaluated, predicted = model.evaluate(**given), model.predict(x, batch_size=8, verbose=0)
        else:
            loader = torch.utils.data.DataLoader(range(20), batch_size=8, collate_fn=collate)
            history = model.fit(loader, epochs=2, verbose=0, validation_data=loader).history
            evaluated, predicted = model.evaluate(loader, verbose=0), model.predict(loader, verbose=0)
        results.append([*model.get_weights(), history["loss"], history["val_loss"], evaluated, predicted])
    for got, expected in zip(*reversed(results), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ((np.array(["a", "b"]), np.ones(2)), DataError, "an array of a batch must hold numbers, got .* dtype <U1"),
        ((np.ones((2, 3)), np.array(1.0)), DataError, "an array of a batch must have an axis of samples"),
        (({}, np.ones(2)), DataError, r"inputs must be tensors or NumPy arrays, .*, got \{\}"),
        ((3.0, np.ones(2)), DataError, r"inputs must be tensors or NumPy arrays, .*, got 3\.0"),
    ],
)
def test_batches_that_cannot_be_trained_on_are_named(batch, error, message):
    class Same(penalize.Model):
        def __init__(self):
            super().__init__()
            self.head = penalize.layers.Dense(1)
            self.head.build((None, 3))

        def call(self, x):
            return self.head(x if isinstance(x, torch.Tensor) else torch.ones(2, 3))

    model = Same()
    model.compile("sgd", "mse")
    with pytest.raises(error, match=message):
        model.fit(torch.utils.data.DataLoader([0], collate_fn=lambda _: batch), verbose=0)


if __name__ == "__main__":
    for dtype in ("float32", "float64"):
        for kind in ("dense", "convolution"):
            for optimizer in ("sgd", "adam"):
                weights, losses = trained(kind, optimizer, dtype)
                print(
                    f"{dtype} {kind} {optimizer}: largest relative difference: weights {weights:.1e}, losses {losses:.1e}"
                )


@pytest.mark.parametrize("weighted", [False, True])
def test_class_weights_weigh_the_training_alone(weighted):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(20, 3)).astype("float32"), random.integers(0, 3, 20)
    weight = random.random(20).astype("float32") if weighted else None
    logs = []
    for library in (keras, penalize):
        dense = library.layers.Dense(3, "softmax", kernel_initializer="ones")
        model = library.Sequential([library.Input((3,)), dense])
        model.compile(library.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        given = {"sample_weight": weight} if weighted else {"class_weight": {0: 1.0, 1: 5.0, 2: 0.1}}
        history = model.fit(x, y, 4, 2, verbose=0, shuffle=False, validation_split=0.4, **given).history
        logs.append([history["loss"], history["val_loss"]])
    np.testing.assert_allclose(logs[1], logs[0], rtol=1e-5)


def test_a_metric_of_a_value_a_class_is_logged_as_keras_does(capsys):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(20, 3)).astype("float32"), np.eye(3, dtype="float32")[random.integers(0, 3, 20)]
    weights = [random.normal(size=(3, 3)), np.zeros(3)]
    results = []
    for library in (keras, penalize):
        model = library.Sequential([library.Input((3,)), library.layers.Dense(3, "softmax")])
        model.set_weights(weights)
        model.compile(library.optimizers.SGD(0.1), "mse", metrics=[library.metrics.F1Score(), "mae"])
        history = model.fit(x, y, 8, 2, verbose=2, shuffle=False, validation_split=0.5)
        evaluated = model.evaluate(x, y, verbose=0)
        results.append([history.history, dict(enumerate(evaluated))])
    assert "f1_score=[" in repr(history)
    assert "f1_score: [" in capsys.readouterr().out
    for expected, got in zip(*results, strict=True):
        assert set(got) == set(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(np.array(got[name]), np.array(value), rtol=1e-5)
