"""The ways to do the job of `benchmarks.comparison_task`, each as a person would write it with that library.

Each runs in a process of its own, which is told the way and the size of the task.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.comparison_task import BATCH, HIDDEN, LEARNING_RATE, SEED, Task
from benchmarks.peers import Figures, serve
from penalize.path.network import multilayer_perceptron

# Strengths of LassoNet's own penalty, of features, which span its path on digits.
LASSONET_GRID = (1.0, 500.0)


def penalize_path(task: Task) -> float:
    """All models in one call."""
    import penalize

    torch.manual_seed(SEED)
    path = penalize.path.regularization_path(
        network(),
        *task.raw,
        weights={"*.weight": penalize.regularizers.L2(1.0)},
        strengths=task.grid,
        folds=task.folds,
        epochs=task.epochs,
        batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        seed=SEED,
        progress=False,
    )
    return float(np.nanmax(path.score))


def network() -> nn.Module:
    """64-64-64-10, of torch."""
    return multilayer_perceptron(64, list(HIDDEN), 10)


def plain_model(task: Task, strength: float, fold: int) -> float:
    """One model by a loop with a fused optimizer: its accuracy on the validation rows."""
    x, y, x_validation, y_validation = task.arrays(fold)
    torch.manual_seed(SEED)
    model = network()
    kernels = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    for _ in range(task.epochs):
        for rows in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            (loss + strength * sum(kernel.square().sum() for kernel in kernels)).backward()
            optimizer.step()
    with torch.no_grad():
        return float((model(x_validation).argmax(1) == y_validation).float().mean())


def plain_loop(task: Task) -> float:
    """One model after another, on one thread: two are no faster for such a network."""
    torch.set_num_threads(1)
    return task.best([plain_model(task, strength, fold) for strength, fold in task.pairs])


def plain_pool(task: Task, pool: ProcessPoolExecutor) -> float:
    """The same in two processes of one thread each."""
    return task.best(list(pool.map(partial(_in_pool, task), task.pairs, chunksize=-(-len(task.pairs) // 16))))


def _in_pool(task: Task, pair: tuple[float, int]) -> float:
    torch.set_num_threads(1)
    return plain_model(task, *pair)


def keras_models(task: Task) -> float:
    """One `fit` a model, compiled as Keras does by default."""
    import keras

    def model(strength: float, fold: int) -> float:
        x, y, x_validation, y_validation = (tensor.numpy() for tensor in task.arrays(fold))
        keras.utils.set_random_seed(SEED)
        dense = partial(keras.layers.Dense, kernel_regularizer=keras.regularizers.L2(strength))
        made = keras.Sequential(
            [keras.Input((64,)), *(dense(size, activation="relu") for size in HIDDEN), dense(10, activation="softmax")]
        )
        made.compile(keras.optimizers.Adam(LEARNING_RATE), "sparse_categorical_crossentropy", metrics=["accuracy"])
        made.fit(x, y, batch_size=BATCH, epochs=task.epochs, verbose=0)
        return float(made.evaluate(x_validation, y_validation, batch_size=1024, verbose=0)[1])

    return task.best([model(strength, fold) for strength, fold in task.pairs])


def grid_search(task: Task) -> float:
    """scikit-learn's search over skorch's network, in two processes."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from benchmarks.penalized_skorch import PenalizedClassifier

    classifier = PenalizedClassifier(
        network,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=LEARNING_RATE,
        max_epochs=task.epochs,
        batch_size=BATCH,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    pipeline = make_pipeline(StandardScaler(), classifier)
    grid = {"penalizedclassifier__strength": task.grid}
    search = GridSearchCV(pipeline, grid, cv=task.splitter, n_jobs=2, refit=False, error_score="raise")
    search.fit(*task.raw)
    return float(search.best_score_)


def lassonet(task: Task) -> float:
    """LassoNet's own path of as many strengths, of its own penalty, after its dense training; no early stopping."""
    from lassonet import LassoNetClassifier

    scores = np.full((task.folds, task.strengths), np.nan)
    for fold in range(task.folds):
        x, y, x_validation, y_validation = (tensor.numpy() for tensor in task.arrays(fold))
        model = LassoNetClassifier(
            hidden_dims=HIDDEN,
            batch_size=BATCH,
            n_iters=(task.epochs, task.epochs),
            patience=None,
            verbose=0,
            torch_seed=SEED,
        )
        found: list[float] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that its path begins high
            model.path(
                x,
                y,
                X_val=x_validation,
                y_val=y_validation,
                lambda_seq=np.geomspace(*LASSONET_GRID, task.strengths).tolist(),
                callback=lambda each, _, to=found, data=(x_validation, y_validation): to.append(each.score(*data)),
            )
        # The first is that of the dense model; a path ends early where no feature is left.
        scores[fold, : len(found) - 1] = found[1:]
    return float(np.nanmax(scores.mean(0)))


WAYS: dict[str, Callable[[Task], float]] = {
    "penalize": penalize_path,
    "plain": plain_loop,
    "keras": keras_models,
    "skorch": grid_search,
    "lassonet": lassonet,
}


def run(way: str, task: Task) -> None:
    """What the process of a way does; before the first turn it does a small task, so that libraries are loaded."""
    pool = None
    if way == "pool":
        pool = ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))
        work = partial(plain_pool, pool=pool)
    else:
        work = WAYS[way]
    small = Task(strengths=1, folds=2, epochs=1)
    work(small)
    warm = False

    def turn() -> Figures:
        nonlocal warm
        if not warm:
            warm = True
            return {}
        began = time.perf_counter()
        score = work(task)
        return {"seconds": time.perf_counter() - began, "score": score}

    assert task.data is not None  # read before the clock runs
    serve(turn)
    if pool is not None:
        pool.shutdown()


if __name__ == "__main__":
    sizes: Any = map(int, sys.argv[2:])
    run(sys.argv[1], Task(*sizes))
