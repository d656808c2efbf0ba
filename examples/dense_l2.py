"""A Dense classifier of the handwritten digits with L2 penalties on kernels and biases."""

from sklearn.datasets import load_digits

import penalize as keras
from penalize import layers, regularizers

x, y = load_digits(return_X_y=True)
x = x.astype("float32") / 16

model = keras.Sequential(
    [
        keras.Input(shape=(64,)),
        layers.Dense(64, activation="relu", kernel_regularizer=regularizers.L2(1e-4), bias_regularizer="l2"),
        layers.Dense(10, activation="softmax", kernel_regularizer=regularizers.L2(1e-4)),
    ]
)
model.summary()
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x, y, epochs=10, batch_size=32, validation_split=0.2, verbose=2)
loss, accuracy = model.evaluate(x, y, verbose=0)
print(f"loss with penalties {loss:.3f}, accuracy {accuracy:.3f}, {len(model.losses)} penalties")
