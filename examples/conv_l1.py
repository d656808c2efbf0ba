"""A convolutional classifier of the handwritten digits with L1 penalties on its kernels."""

from sklearn.datasets import load_digits

import penalize as keras
from penalize.layers import Conv2D, Dense, Flatten, MaxPooling2D
from penalize.models import Sequential
from penalize.regularizers import l1

x, y = load_digits(return_X_y=True)
x = x.reshape(-1, 8, 8, 1).astype("float32") / 16

model = Sequential()
model.add(keras.Input(shape=(8, 8, 1)))
model.add(Conv2D(16, (3, 3), activation="relu", padding="same", kernel_regularizer=l1(1e-5)))
model.add(MaxPooling2D((2, 2)))
model.add(Conv2D(32, 3, activation="relu", kernel_regularizer=l1(1e-5)))
model.add(Flatten())
model.add(Dense(10, kernel_regularizer=l1(1e-5)))
model.compile(
    optimizer=keras.optimizers.Adam(learning_rate=2e-3),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(x, y, epochs=5, batch_size=32, validation_data=(x[-300:], y[-300:]), verbose=2)
print("accuracy", model.evaluate(x, y, verbose=0)[1])
