"""A training step of Keras with penalties over one without, on its three backends: `train_on_batch`, compiled.

The networks, batches and penalties are those of `benchmarks.steps`; the ratio is taken inside the process of each
backend, by turns.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.peers import BACKENDS, Figures, Peer, by_turns, missing, serve
from benchmarks.timing import spread

NONE, WEIGHTS, ACTIVITY = "none", "weights", "weights + activity"
MODES = (NONE, WEIGHTS, ACTIVITY)
TURNS = 9


class Builder:
    """Keras's layers with the penalties of one mode."""

    def __init__(self, mode: str) -> None:
        import keras

        self.keras = keras
        self.layers, regularizers = keras.layers, keras.regularizers
        self.kernel = regularizers.L1L2(1e-5, 1e-4) if mode != NONE else None
        self.bias = regularizers.L2(1e-4) if mode != NONE else None
        self.activity = regularizers.L1(1e-6) if mode == ACTIVITY else None

    def dense(self, size: int, activation: str | None = None) -> Any:
        return self.layers.Dense(size, activation, kernel_regularizer=self.kernel, bias_regularizer=self.bias)

    def relu(self) -> Any:
        return self.layers.ReLU(activity_regularizer=self.activity)

    def convolution(self, filters: int) -> Any:
        return self.layers.Conv2D(
            filters, 3, padding="same", kernel_regularizer=self.kernel, bias_regularizer=self.bias
        )

    def norm(self) -> Any:
        return self.layers.LayerNormalization(
            epsilon=1e-5,
            beta_regularizer=self.bias,
            gamma_regularizer=self.bias,
            activity_regularizer=self.activity,
        )

    def plain_norm(self) -> Any:
        return self.layers.LayerNormalization(epsilon=1e-5, beta_regularizer=self.bias, gamma_regularizer=self.bias)


def mlp(sizes: tuple[int, ...], make: Builder) -> Any:
    parts: list[Any] = [make.keras.Input((sizes[0],))]
    for size in sizes[1:-1]:
        parts += [make.dense(size), make.relu()]
    return make.keras.Sequential([*parts, make.dense(sizes[-1])])


def cnn(make: Builder) -> Any:
    layers = make.layers
    parts = [make.keras.Input((8, 8, 1)), make.convolution(32), make.relu(), make.convolution(64), make.relu()]
    return make.keras.Sequential([*parts, layers.MaxPooling2D(2), layers.Flatten(), make.dense(10)])


def encoder(make: Builder) -> Any:
    """Six layers of a transformer as torch's: attention and two Dense layers, a norm after each sum."""
    inputs = x = make.keras.Input((32, 128))
    for _ in range(6):
        attention = make.layers.MultiHeadAttention(4, 32, kernel_regularizer=make.kernel, bias_regularizer=make.bias)
        x = make.plain_norm()(x + attention(x, x))
        # The layer's output is that of its last norm.
        x = make.norm()(x + make.dense(128)(make.dense(256, "relu")(x)))
    return make.keras.Model(inputs, make.dense(10)(make.layers.GlobalAveragePooling1D()(x)))


# What makes the network, the shape of a batch, calls a turn.
NETWORKS: dict[str, tuple[Callable[[Builder], Any], tuple[int, ...], int]] = {
    "small MLP 64-64-64-10, batch 32": (partial(mlp, (64, 64, 64, 10)), (32, 64), 30),
    "middle MLP 784-512-512-10, batch 128": (partial(mlp, (784, 512, 512, 10)), (128, 784), 6),
    "CNN on 8x8 digits, batch 64": (cnn, (64, 8, 8, 1), 6),
    "transformer encoder, 6 layers of 128, batch 16x32": (encoder, (16, 32, 128), 2),
}


def run(network: str) -> None:
    """What the process of one backend does: a turn is some steps of each mode."""
    import numpy as np

    from benchmarks.timing import by_turns as timed

    make, shape, inner = NETWORKS[network]
    random = np.random.default_rng(0)
    x = random.normal(size=shape).astype("float32")
    y = random.integers(0, 10, shape[0])
    ways = {}
    for mode in MODES:
        builder = Builder(mode)
        model = make(builder)
        loss = builder.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer="adam", loss=loss)
        ways[mode] = partial(model.train_on_batch, x, y)

    def turn() -> Figures:
        return {mode: times[0] for mode, times in timed(ways, 1, inner).items()}

    serve(turn)


def main() -> None:
    """Print a table for each network."""
    for network in NETWORKS:
        reasons = {backend: missing(backend) for backend in BACKENDS}
        peers = {
            backend: Peer("benchmarks.keras_steps", (network,), backend)
            for backend, reason in reasons.items()
            if reason is None
        }
        found = by_turns(peers, TURNS)
        table = Table("Keras on", "penalties", "ms", "over none", "quartiles", title=f"Keras: {network}")
        for backend in BACKENDS:
            turns = found.get(backend)
            if not turns:
                table.add_row(backend, reasons[backend] or peers[backend].error or "")
                continue
            for mode in MODES:
                ratios = [figures[mode] / figures[NONE] for figures in turns]
                milliseconds = 1e3 * statistics.median(figures[mode] for figures in turns)
                table.add_row(backend, mode, f"{milliseconds:.3f}", f"{statistics.median(ratios):.3f}", spread(ratios))
        Console().print(table)


if __name__ == "__main__":
    run(sys.argv[1])
