"""Sparse hidden activity: an L1 penalty on the output of a Dense layer, divided by the batch size."""

import numpy as np
from sklearn.datasets import load_digits

import penalize as keras
from penalize import layers, regularizers

x, _ = load_digits(return_X_y=True)
x = x.astype("float32") / 16


def hidden_share_of_zeros(strength):
    hidden = layers.Dense(32, activation="relu", activity_regularizer=regularizers.L1(strength))
    model = keras.Sequential([keras.Input((64,)), hidden, layers.Dense(64, activation="sigmoid")])
    model.compile(optimizer="adam", loss="binary_crossentropy")
    model.fit(x, x, epochs=10, batch_size=64, verbose=0)
    encoder = keras.Sequential([keras.Input((64,)), hidden])
    return float(np.mean(encoder.predict(x, verbose=0) == 0))


print("share of hidden values that are zero, without a penalty:", hidden_share_of_zeros(0.0))
print("with L1(0.01):", hidden_share_of_zeros(0.01))
