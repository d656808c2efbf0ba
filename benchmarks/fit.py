"""A whole step of `Sequential.fit`, everything that fit does included, beside Keras's fit on its three backends.

The same network, data, batches, Adam, loss and penalties; an epoch is timed and divided by its steps.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.peers import BACKENDS, Figures, Peer, by_turns, missing, serve
from benchmarks.timing import spread

# Sizes, batch, steps an epoch.
NETWORKS = {
    "small MLP 64-64-64-10, batch 32": ((64, 64, 64, 10), 32, 200),
    "middle MLP 784-512-512-10, batch 128": ((784, 512, 512, 10), 128, 30),
}
WITHOUT, WITH = "no penalties", "penalties"
TURNS = 15


def sequential(library: Any, sizes: tuple[int, ...], penalized: bool) -> Any:
    """Dense layers with ReLU, softmax at the end; L1L2 on kernels and L2 on biases, or none."""
    regularizers, layers = library.regularizers, library.layers
    settings = {}
    if penalized:
        settings = {
            "kernel_regularizer": regularizers.L1L2(1e-5, 1e-4),
            "bias_regularizer": regularizers.L2(1e-4),
        }
    hidden = [layers.Dense(size, activation="relu", **settings) for size in sizes[1:-1]]
    last = layers.Dense(sizes[-1], activation="softmax", **settings)
    return library.Sequential([library.Input((sizes[0],)), *hidden, last])


def run(name: str, network: str) -> None:
    """What the process of one library does: a turn is an epoch with penalties and one without."""
    import numpy as np

    library: Any
    if name == "penalize":
        import penalize as library
    else:
        import keras as library
    sizes, batch, steps = NETWORKS[network]
    random = np.random.default_rng(0)
    x = random.normal(size=(batch * steps, sizes[0])).astype("float32")
    y = random.integers(0, sizes[-1], batch * steps)
    models = {}
    for what in (WITHOUT, WITH):
        models[what] = sequential(library, sizes, what == WITH)
        models[what].compile(optimizer="adam", loss="sparse_categorical_crossentropy")

    def turn() -> Figures:
        figures = {}
        for what, model in models.items():
            began = time.perf_counter()
            model.fit(x, y, batch_size=batch, epochs=1, verbose=0)
            figures[what] = (time.perf_counter() - began) / steps
        return figures

    serve(turn)


def main() -> None:
    """Print a table for each network: milliseconds, and penalize's step over the library's, turn by turn."""
    for network in NETWORKS:
        peers = {"penalize": Peer("benchmarks.fit", ("penalize", network))}
        left_out = {}
        for backend in BACKENDS:
            lacking = missing(backend)
            if lacking:
                left_out[f"Keras on {backend}"] = lacking
            else:
                peers[f"Keras on {backend}"] = Peer("benchmarks.fit", ("keras", network), backend)
        found = by_turns(peers, TURNS)
        left_out |= {name: peer.error for name, peer in peers.items() if peer.error}
        table = Table("fit", "ms a step", "penalize over it", "quartiles", title=f"a step of fit: {network}")
        for name, turns in found.items():
            for what in (WITHOUT, WITH) if turns else ():
                row = [f"{1e3 * statistics.median(figures[what] for figures in turns):.3f}"]
                pairs = zip(found["penalize"], turns, strict=True) if found["penalize"] else ()
                ratios = [ours[what] / theirs[what] for ours, theirs in pairs]
                if ratios:
                    row += [f"{statistics.median(ratios):.2f}", spread(ratios)]
                table.add_row(f"{name}, {what}", *row)
        for name, reason in left_out.items():
            table.add_row(name, reason)
        Console().print(table)


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2])
