"""Penalties of one's own: a function, and a registered subclass with a config, both written with `ops`."""

import numpy as np

import penalize as keras
from penalize import layers, ops


def non_negative(weights):
    return 0.1 * ops.sum(ops.square(weights - ops.absolute(weights)))


@keras.saving.register_keras_serializable(package="examples")
class UnitColumns(keras.regularizers.Regularizer):
    """Pulls the length of each column towards 1."""

    def __init__(self, strength=0.01):
        self.strength = strength

    def __call__(self, x):
        lengths = ops.sqrt(ops.sum(ops.square(x), axis=0))
        return self.strength * ops.sum(ops.square(lengths - 1))

    def get_config(self):
        return {"strength": self.strength}


random = np.random.default_rng(0)
x = random.normal(size=(256, 8)).astype("float32")
y = (x @ random.random((8, 1))).astype("float32")

model = keras.Sequential(
    [
        keras.Input((8,)),
        layers.Dense(16, activation="relu", kernel_regularizer=UnitColumns(0.05)),
        layers.Dense(1, kernel_regularizer=non_negative),
    ]
)
model.compile(optimizer="adam", loss="mse")
model.fit(x, y, epochs=20, verbose=0)
print("losses", [round(float(ops.convert_to_tensor(loss).detach()), 4) for loss in model.losses])
config = keras.regularizers.serialize(UnitColumns(0.05))
print("config", config, "again", keras.regularizers.deserialize(config).get_config())
