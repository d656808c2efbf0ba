"""An elastic-net regression of the diabetes data: one Dense layer with L1 and L2 together."""

from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler

import penalize as keras
from penalize import layers
from penalize.regularizers import L1L2

x, y = load_diabetes(return_X_y=True)
x = StandardScaler().fit_transform(x).astype("float32")
y = ((y - y.mean()) / y.std()).astype("float32")

model = keras.Sequential([layers.Dense(1, input_dim=10, kernel_regularizer=L1L2(l1=0.01, l2=0.01))])
model.compile(optimizer=keras.optimizers.SGD(learning_rate=0.01), loss="mse", metrics=["mae"])
history = model.fit(x, y, epochs=30, batch_size=64, verbose=0)
print("first loss", history.history["loss"][0], "last loss", history.history["loss"][-1])
print("kernel", model.get_weights()[0].ravel().round(3))
