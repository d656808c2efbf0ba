"""Paths on Ray: the results of training here, also when a worker is lost or the run is interrupted."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from torch import nn

from penalize.errors import ArgumentError, InterruptedTrainingError, MissingExtraError, PenalizeError
from penalize.path import regularization_path
from penalize.path.backends import ray as path_ray
from penalize.path.backends.ray import ray_backend
from penalize.regularizers import L1

RESULTS = ("fold_scores", "fold_train_losses", "fold_val_losses", "fold_zeros")


def path(model=None, **more):
    x, y = load_wine(return_X_y=True)
    torch.manual_seed(0)
    settings = {"strengths": [1e-3, 1e-2, 0.1, 0.3], "folds": 2, "epochs": 3, "proximal": True, "chunk": 2} | more
    return regularization_path(
        nn.Linear(13, 3) if model is None else model, x, y, weights={"weight": L1(1.0)}, progress=False, **settings
    )


def equal(first, second):
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in RESULTS)


def unlucky(happens):
    """A linear layer to which something happens when another process than this one calls it."""
    here = os.getpid()

    # Not importable by workers, so that it travels with the job.
    class Unlucky(nn.Linear):
        def forward(self, x):
            if os.getpid() != here:
                happens()
            return super().forward(x)

    torch.manual_seed(0)
    return Unlucky(13, 3)


@pytest.fixture(scope="module")
def cluster():
    """A local cluster to which this process is connected; gives its address."""
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    context = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield context.address_info["gcs_address"]
    ray.shutdown()


def test_without_ray_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'^ray is not installed: pip install "penalize\[ray\]"$'):
        ray_backend()


def test_a_cluster_of_its_own_ends_with_the_path():
    ray = pytest.importorskip("ray")
    before = dict(os.environ)
    assert not ray.is_initialized()
    assert equal(path(backend=ray_backend()), path())
    assert not ray.is_initialized()
    assert os.environ.get("RAY_USAGE_STATS_ENABLED") == before.get("RAY_USAGE_STATS_ENABLED")


def test_the_results_are_those_of_training_here(cluster):
    expected = path()
    assert equal(path(backend=ray_backend()), expected)
    assert equal(path(backend="ray"), expected)
    assert equal(path(backend=ray_backend(), warm_start=True, chunk=1), path(warm_start=True, chunk=1))


def test_every_epoch_is_reported(cluster, monkeypatch):
    steps = []
    inner = path_ray._train

    def counted(library, address, job, chunks, advance):
        return inner(library, address, job, chunks, lambda: steps.append(len(chunks)))

    monkeypatch.setattr(path_ray, "_train", counted)
    path(backend=ray_backend())
    assert steps == [4] * (4 * 3)


def test_the_chunk_of_a_lost_worker_is_done_again(cluster, tmp_path):
    mark, once = tmp_path / "killed", signal.SIGKILL

    def killed():
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), once)

    model = unlucky(killed)
    expected = path(model)
    assert not mark.exists()
    assert equal(path(model, backend=ray_backend()), expected)
    assert mark.exists()


def test_a_chunk_whose_workers_are_always_lost_is_an_error(cluster, monkeypatch):
    monkeypatch.setattr(path_ray, "RETRIES", 1)
    model = unlucky(lambda: os._exit(1))
    with pytest.raises(PenalizeError, match="^a chunk was lost on Ray, also after 1 more tries: WorkerCrashedError: "):
        path(model, backend=ray_backend(), chunk=8)


def test_errors_of_training_are_those_of_training_here(cluster):
    def fails():
        raise ValueError("no such weather")

    with pytest.raises(PenalizeError, match="^training failed: ValueError: no such weather$"):
        path(unlucky(fails), backend=ray_backend(), chunk=8)


def test_an_interrupted_run_goes_on_from_its_finished_chunks(cluster, tmp_path):
    def interrupted(job, chunks, advance):
        for number, finished in enumerate(ray_backend()(job, chunks, advance)):
            if number == 2:
                raise KeyboardInterrupt
            yield finished

    with pytest.raises(InterruptedTrainingError, match="interrupted with 2 of 4 chunks finished, which are kept"):
        path(backend=interrupted, resume=tmp_path)
    left = []

    def counted(job, chunks, advance):
        left.extend(chunks)
        yield from ray_backend()(job, chunks, advance)

    assert equal(path(backend=counted, resume=tmp_path), path())
    assert len(left) == 2


def test_a_model_that_cannot_be_sent_is_one_line(cluster):
    model, lock = nn.Linear(13, 3), threading.Lock()
    model.register_forward_hook(lambda *_: lock.locked() or None)
    with pytest.raises(PenalizeError, match="^this model cannot be sent to Ray: TypeError: "):
        path(lambda: model, backend=ray_backend())


def test_an_existing_cluster_is_reached_by_its_address(cluster):
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from tests.path.test_ray import RESULTS, path, ray_backend
import ray, numpy
found = path(backend=ray_backend({cluster!r}))
print(*(float(getattr(found, name).sum()).hex() for name in RESULTS), ray.is_initialized())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = path()
    assert done.stdout.split() == [*(float(getattr(expected, name).sum()).hex() for name in RESULTS), "False"]


def test_addresses_that_cannot_work(cluster, monkeypatch):
    with pytest.raises(ArgumentError, match="address must be left out, as this process is connected to Ray already"):
        ray_backend(cluster)
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    for address in ("", 5):
        with pytest.raises(ArgumentError, match='address must be "host:port" or "auto", got'):
            ray_backend(address)
    for address in ("nowhere", ":1", "host:x"):
        with pytest.raises(ArgumentError, match=f'address must be "host:port" or "auto", got {address!r}'):
            path(backend=ray_backend(address))
    with pytest.raises(PenalizeError, match="^Ray at 127.0.0.1:9 does not answer: .*refused"):
        path(backend=ray_backend("127.0.0.1:9"))
