"""An interrupted path goes on from its last finished chunk, with the same result bit for bit."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from tests.path.path_models import RESUMED, resumed, small

import penalize.path.backends.store as store
from penalize.errors import ArgumentError, FileError, FileFormatError, InterruptedTrainingError
from penalize.path import regularization_path
from penalize.path.backends.local import train_here
from penalize.regularizers import L1, L2

ARRAYS = ("fold_scores", "fold_val_losses", "fold_train_losses", "fold_zeros")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return resumed(tmp_path_factory.mktemp("whole"))


def same(path, whole):
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(path, name), getattr(whole, name))


def finished(folder):
    return len(list(folder.glob("chunk-*.npz")))


def test_a_path_that_is_killed_at_random_moments_goes_on(tmp_path, whole):
    command = [sys.executable, "-W", "error", "-m", "tests.path.path_models", str(tmp_path)]
    generator = np.random.default_rng()
    seen = []
    for _ in range(2):
        with subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE) as process:
            # Not while it still imports: nothing could be lost then.
            while not (tmp_path / "job.json").exists() and process.poll() is None:
                time.sleep(0.01)
            before = finished(tmp_path)
            while finished(tmp_path) == before and process.poll() is None:
                time.sleep(0.001)
            time.sleep(generator.uniform(0, 0.1))
            process.kill()
            process.wait()
        seen.append(finished(tmp_path))
    assert 1 <= seen[0] <= seen[1] <= 7
    same(resumed(tmp_path), whole)
    assert finished(tmp_path) == 7
    assert {path.name for path in tmp_path.glob("chunk-*.npz")} | {"job.json"} <= {p.name for p in tmp_path.iterdir()}


@pytest.mark.parametrize("done", [0, 3, 6, 7])
def test_what_is_finished_is_not_trained_again(done, tmp_path, whole, monkeypatch):
    x, y = load_wine(return_X_y=True)
    torch.set_num_threads(1)
    trained = []

    def interrupted(job, chunks, advance):
        for chunk, result in train_here(job, chunks, advance):
            if len(trained) == done:
                os.kill(os.getpid(), signal.SIGINT)
            trained.append(chunk)
            yield chunk, result

    if done < 7:
        with pytest.raises(
            InterruptedTrainingError, match=f"interrupted with {done} of 7 chunks finished, which are kept"
        ):
            regularization_path(small, x, y, **RESUMED, resume=tmp_path, backend=interrupted)
    else:
        resumed(tmp_path)
    assert finished(tmp_path) == done
    again = []

    def going_on(job, chunks, advance):
        again.extend(chunks)
        yield from train_here(job, chunks, advance)

    same(regularization_path(small, x, y, **RESUMED, resume=str(tmp_path), backend=going_on), whole)
    assert len(again) == 7 - done


def test_an_interrupt_without_a_folder_says_how_to_keep_what_is_finished():
    x, y = load_wine(return_X_y=True)

    def interrupted(job, chunks, advance):
        yield next(train_here(job, chunks, advance))
        raise KeyboardInterrupt

    with pytest.raises(
        InterruptedTrainingError, match="with 1 of 7 chunks finished, of which nothing is kept; pass resume"
    ):
        regularization_path(small, x, y, **RESUMED, backend=interrupted)
    assert not issubclass(InterruptedTrainingError, Exception)


def other_loss(output, y):
    return torch.nn.functional.cross_entropy(output, y, label_smoothing=0.1)


@pytest.mark.parametrize(
    ("changed", "differs"),
    [
        ({"epochs": 6}, "epochs differ"),
        ({"seed": 1}, "data, model, seed differ"),
        ({"weights": {"*.weight": L2(1.0)}, "proximal": False}, "penalties, proximal differ"),
        ({"strengths": [1e-3, 3e-3, 1e-2, 3e-2, 0.2]}, "strengths differ"),
        ({"chunk": 4}, "chunks differ"),
        ({"learning_rate": 0.02, "early_stopping": None}, "optimizer, early stopping differ"),
        ({"loss": other_loss, "score": lambda output, y: 0.5}, "loss, score differ"),
        ({"batch_size": 64, "warm_start": True, "chunk": 2}, "batch size, warm start, chunks differ"),
    ],
)
def test_a_folder_of_another_path_is_refused(changed, differs, tmp_path_factory, whole):
    x, y = load_wine(return_X_y=True)
    folder = next(path for path in tmp_path_factory.getbasetemp().iterdir() if path.name.startswith("whole"))
    with pytest.raises(ArgumentError, match=f"resume: .* holds finished chunks of another path: {differs}"):
        regularization_path(small, x, y, **{**RESUMED, **changed}, resume=folder)


def test_other_data_are_refused(tmp_path_factory, whole):
    x, y = load_wine(return_X_y=True)
    folder = next(path for path in tmp_path_factory.getbasetemp().iterdir() if path.name.startswith("whole"))
    x[17, 3] += 1e-3
    with pytest.raises(ArgumentError, match="another path: data differ"):
        regularization_path(small, x, y, **RESUMED, resume=folder)


def test_folders_that_cannot_be_used(tmp_path):
    x, y = load_wine(return_X_y=True)
    settings = {"weights": {"*.weight": L1(1.0)}, "strengths": [0.1], "folds": 2, "epochs": 1}
    with pytest.raises(ArgumentError, match="resume must be a folder, got 3"):
        regularization_path(small, x, y, **settings, resume=3)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="resume: .*file: File exists"):
        regularization_path(small, x, y, **settings, resume=tmp_path / "file")
    regularization_path(small, x, y, **settings, resume=tmp_path / "new")
    (tmp_path / "new" / store.JOB).write_text("[1")
    with pytest.raises(FileFormatError, match="job.json is broken"):
        regularization_path(small, x, y, **settings, resume=tmp_path / "new")
    (tmp_path / "new" / store.JOB).unlink()
    with pytest.raises(ArgumentError, match="holds finished chunks, but no job.json"):
        regularization_path(small, x, y, **settings, resume=tmp_path / "new")
