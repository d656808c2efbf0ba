"""L1 on the kernels of a small network: how many weights are exactly zero, and what the network is worth.

The same penalty by proximal steps, by gradient steps and by Keras, all with Adam.
"""

from __future__ import annotations

import os
import statistics

import torch
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import penalize
from penalize.path.network import multilayer_perceptron

STRENGTH, SEEDS, EPOCHS, BATCH = 1e-3, 5, 60, 32
WAYS = ("no penalty", "bind(proximal=True)", "bind()", "Keras")


def digits(seed: int) -> tuple[torch.Tensor, ...]:
    """Pixels from 0 to 1 and labels: three quarters to train, the rest to test."""
    x, y = load_digits(return_X_y=True)
    parts = train_test_split(x / 16, y, test_size=0.25, stratify=y, random_state=seed)
    x_train, x_test, y_train, y_test = (torch.from_numpy(part) for part in parts)
    return x_train.float(), y_train, x_test.float(), y_test


def by_torch(way: str, seed: int) -> tuple[float, float, float]:
    """The share of zeros among the kernels, the share below 1e-3, and the accuracy on the test rows."""
    x, y, x_test, y_test = digits(seed)
    torch.manual_seed(seed)
    model = multilayer_perceptron(64, [64, 64], 10)
    optimizer = torch.optim.Adam(model.parameters())
    if way != "no penalty":
        penalties = penalize.attach(model, weights={"*.weight": penalize.regularizers.L1(STRENGTH)})
        penalties.bind(optimizer, proximal="proximal" in way)
    for _ in range(EPOCHS):
        for rows in torch.split(torch.randperm(len(x)), BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        accuracy = (model(x_test).argmax(1) == y_test).float().mean().item()
    kernels = [module.weight.detach() for module in model.modules() if isinstance(module, nn.Linear)]
    return *_shares(kernels), accuracy


def by_keras(seed: int) -> tuple[float, float, float]:
    """The same of Keras' own layers, regularizer, Adam and fit, on its torch backend."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    x, y, x_test, y_test = (part.numpy() for part in digits(seed))
    keras.utils.set_random_seed(seed)
    penalty = keras.regularizers.L1(STRENGTH)
    sizes = ((64, "relu"), (64, "relu"), (10, None))
    layers = [keras.layers.Dense(size, activation=name, kernel_regularizer=penalty) for size, name in sizes]
    model = keras.Sequential([keras.Input((64,)), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    model.fit(x, y, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    return *_shares([torch.from_numpy(layer.get_weights()[0]) for layer in model.layers]), accuracy


def _shares(kernels: list[torch.Tensor]) -> tuple[float, float]:
    values = torch.cat([kernel.reshape(-1) for kernel in kernels]).abs()
    return (values == 0).float().mean().item(), (values < 1e-3).float().mean().item()


def main() -> None:
    """Print a table: means over seeds, and the standard deviation of the accuracy."""
    table = Table("way", "exact zeros", "below 1e-3", "test accuracy", "sd")
    table.title = f"digits, 64-64-64-10, L1({STRENGTH}) on kernels, Adam, {EPOCHS} epochs, {SEEDS} seeds"
    for way in WAYS:
        found = [by_keras(seed) if way == "Keras" else by_torch(way, seed) for seed in range(SEEDS)]
        zeros, small, accuracy = zip(*found, strict=True)
        shares = [f"{statistics.mean(each):.1%}" for each in (zeros, small)]
        table.add_row(way, *shares, f"{statistics.mean(accuracy):.4f}", f"{statistics.stdev(accuracy):.4f}")
    Console().print(table)
