"""Three models of the handwritten digits, trained 50 steps beside Keras with the same weights and batches.

`python -m tests.parity.three_models` prints the largest relative differences.
"""

import os

import numpy as np
from sklearn.datasets import load_digits

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras

import penalize

STEPS, BATCH = 50, 32
MODELS = ("convolutions", "lstm", "mlp with BatchNormalization")
OPTIMIZERS = ("sgd", "adam")
DTYPES = ("float32", "float64")


def digits(kind, dtype):
    """(steps, batch, ...) of inputs and labels; the LSTM reads a digit row by row."""
    x, y = load_digits(return_X_y=True)
    shape = {"convolutions": (8, 8, 1), "lstm": (8, 8)}.get(kind, (64,))
    count = STEPS * BATCH
    return (x[:count] / 16).astype(dtype).reshape(count, *shape), y[:count]


def parts(library, kind, dtype):
    layers, r = library.layers, library.regularizers
    if kind == "convolutions":
        return [
            library.Input((8, 8, 1), dtype=dtype),
            layers.Conv2D(
                8,
                3,
                padding="same",
                activation="relu",
                kernel_regularizer=r.L1L2(1e-4, 1e-3),
                bias_regularizer="l2",
                dtype=dtype,
            ),
            layers.MaxPooling2D(2, dtype=dtype),
            layers.Conv2D(8, 3, activation="relu", activity_regularizer=r.L1(1e-3), dtype=dtype),
            layers.Flatten(dtype=dtype),
            layers.Dense(10, activation="softmax", kernel_regularizer=r.L2(1e-3), dtype=dtype),
        ]
    if kind == "lstm":
        return [
            library.Input((8, 8), dtype=dtype),
            layers.LSTM(
                24,
                kernel_regularizer=r.L1(1e-4),
                recurrent_regularizer=r.OrthogonalRegularizer(0.01),
                bias_regularizer=r.L2(1e-3),
                activity_regularizer=r.L2(1e-3),
                dtype=dtype,
            ),
            layers.Dense(10, activation="softmax", kernel_regularizer=r.L2(1e-3), dtype=dtype),
        ]
    return [
        library.Input((64,), dtype=dtype),
        # A bias here would be taken out again: its gradient is rounding, which Adam makes steps of.
        layers.Dense(32, use_bias=False, kernel_regularizer=r.L2(1e-3), dtype=dtype),
        layers.BatchNormalization(gamma_regularizer=r.L2(1e-3), beta_regularizer=r.L1(1e-3), dtype=dtype),
        layers.Activation("relu", activity_regularizer=r.L1(1e-3), dtype=dtype),
        layers.Dense(10, activation="softmax", kernel_regularizer=r.L1L2(1e-4, 1e-3), dtype=dtype),
    ]


def relative(got, expected):
    got, expected = np.asarray(got, "float64"), np.asarray(expected, "float64")
    return float(np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-12))


def compare(kind, optimizer, dtype):
    """The largest relative differences after 50 steps: of weights, of the history's loss, of predictions."""
    x, y = digits(kind, dtype)
    random = np.random.default_rng(0)
    trained = []
    for library in (keras, penalize):
        model = library.Sequential(parts(library, kind, dtype))
        rule = library.optimizers.SGD(0.05, momentum=0.9) if optimizer == "sgd" else library.optimizers.Adam(0.01)
        model.compile(optimizer=rule, loss="sparse_categorical_crossentropy")
        if not trained:
            weights = [w if w.ndim == 1 else 0.3 * random.normal(size=w.shape) for w in model.get_weights()]
        model.set_weights([w.astype(dtype) for w in weights])
        history = model.fit(x, y, batch_size=BATCH, epochs=1, shuffle=False, verbose=0).history
        second = model.evaluate(x, y, batch_size=BATCH, verbose=0)
        trained.append((model.get_weights(), [*history["loss"], second], model.predict(x[:200], verbose=0)))
    (their_weights, their_loss, their_outputs), (our_weights, our_loss, our_outputs) = trained
    return {
        "weights": max(relative(a, b) for a, b in zip(our_weights, their_weights, strict=True)),
        "losses": relative(our_loss, their_loss),
        "predictions": relative(our_outputs, their_outputs),
    }


def main():
    for kind in MODELS:
        for optimizer in OPTIMIZERS:
            for dtype in DTYPES:
                keras.config.set_floatx(dtype)
                figures = ", ".join(f"{key} {value:.1e}" for key, value in compare(kind, optimizer, dtype).items())
                print(f"{kind}, {optimizer}, {dtype}, {STEPS} steps: {figures}")


if __name__ == "__main__":
    main()
