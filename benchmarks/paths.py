"""A model-step of a stacked path beside a plain loop over one model at a time, in one process and in a pool of two."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor

import torch
from sklearn.datasets import load_digits
from torch import nn

import penalize
from benchmarks.timing import by_turns, print_ratios
from penalize.path.data.folds import make_folds
from penalize.path.network import multilayer_perceptron
from penalize.path.training.calls import ByVmap
from penalize.path.training.job import Job, Training
from penalize.path.training.loop import train_stack
from penalize.path.training.objective import choose_loss, choose_score
from penalize.path.training.optimization import choose_optimizer
from penalize.path.training.stacked import StackedModels
from penalize.regularizers import L1, L2, Regularizer

MODELS = 32
STRENGTHS = torch.logspace(-6, 0, MODELS).tolist()


def job_of(regularizer: Regularizer, proximal: bool) -> Job:
    """One epoch of 32 strengths on digits, 64-64-64-10, batch 32, with a penalty on kernels."""
    x, y = load_digits(return_X_y=True)
    data = make_folds(x, y, "classification", 5, 0, torch.float32)
    base = multilayer_perceptron(64, [64, 64], 10)
    penalize.attach(base, weights={"*.weight": regularizer})
    chosen = choose_optimizer("adam", 1e-3)
    loss, score = choose_loss("auto", data.task), choose_score("auto", data.task)
    training = Training(epochs=1, batch_size=32, optimizer=chosen, loss=loss, score=score, seed=0)
    return Job(base, data, tuple(STRENGTHS), training, proximal)


def stacked(job: Job, by_vmap: bool = False) -> Callable[[], None]:
    """All strengths of one fold at once; `by_vmap` as models that are no chains."""
    stack = StackedModels(job, tuple((place, 0) for place in range(MODELS)))
    if by_vmap:
        stack.calls = ByVmap(stack.model, stack.paid, job)

    def run() -> None:
        train_stack(stack, job, lambda: None)

    return run


def plain(strengths: Sequence[float]) -> Callable[[], None]:
    """A loop as people write it, with a fused optimizer."""
    data = job_of(L2(1.0), False).data
    model = multilayer_perceptron(64, [64, 64], 10)
    kernels = [module.weight for module in model if isinstance(module, nn.Linear)]
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    x, y = data.x[0], data.y[0]

    def run() -> None:
        for strength in strengths:
            for rows in torch.split(data.epoch_rows(0)[0], 32):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
                (loss + strength * sum(kernel.square().sum() for kernel in kernels)).backward()
                optimizer.step()

    return run


_loops: list[Callable[[], None]] = []


def _in_worker() -> None:
    if not _loops:
        torch.set_num_threads(1)
        _loops.append(plain(STRENGTHS[: MODELS // 2]))
    _loops[0]()


def main() -> None:
    """Print the time of a model and step in each way."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:

        def pooled() -> None:
            for future in [pool.submit(_in_worker) for _ in range(2)]:
                future.result()

        pooled()
        ways = {
            "plain loop": plain(STRENGTHS),
            "pool of two": pooled,
            "stacked, L2": stacked(job_of(L2(1.0), False)),
            "stacked, L1 proximal": stacked(job_of(L1(0.01), True)),
            "stacked, L1 proximal by vmap": stacked(job_of(L1(0.01), True), by_vmap=True),
        }
        times = by_turns(ways, 7, 1)
    steps = MODELS * -(-min(len(rows) for rows in job_of(L2(1.0), False).data.train) // 32)
    each = {name: [second / steps for second in seconds] for name, seconds in times.items()}
    title = "a model and step of a path, 32 strengths on digits, penalties of kernels"
    print_ratios(title, each, "plain loop")
    print_ratios(title, each, "pool of two")


if __name__ == "__main__":
    main()
