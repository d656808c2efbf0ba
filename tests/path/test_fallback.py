"""What cannot be trained in a stack is trained one after another, in worker processes where that is possible."""

import dataclasses
import itertools
import os

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from tests.path.path_models import WINE, Branching, Dying, Failing
from torch import nn

from penalize.errors import PenalizeError
from penalize.path import NotStackedWarning, regularization_path
from penalize.path.backends.local import LocalBackend
from penalize.regularizers import L2

NOT = r"this model cannot be trained in a stack \(.*\): its models are trained one after another, in "


def run(model, **more):
    x, y = load_wine(return_X_y=True)
    return regularization_path(model, x, y, **{**WINE, **more})


def linear(kind=nn.Linear):
    torch.manual_seed(1)
    return kind(13, 3).double()


def equal(one, other):
    for name in ("fold_scores", "fold_val_losses", "fold_train_losses", "fold_zeros"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9)


def test_worker_processes_give_the_same_results():
    with pytest.warns(NotStackedWarning, match=NOT + "2 worker processes"):
        path = run(linear(Branching), processes=2, early_stopping=1)
    assert path.settings["stacked"] is False
    plain = run(linear(), early_stopping=1)
    assert plain.settings["stacked"] is True
    equal(path, plain)
    equal(run(linear(), early_stopping=1, processes=2, chunk=3), plain)


def test_what_cannot_be_sent_is_trained_in_this_process():
    class Local(Branching):
        pass

    with pytest.warns(NotStackedWarning, match=NOT + "this process; worker processes cannot have it: .*Local"):
        path = run(linear(Local), processes=2, warm_start=True)
    equal(path, run(linear(), warm_start=True))


def test_one_process_is_this_one():
    class CountsItsCalls(nn.Linear):
        calls = 0

        def forward(self, x):
            type(self).calls += 1
            return super().forward(x) * type(self).calls

    with pytest.warns(NotStackedWarning, match="the first gradient of weight differs.*in this process$"):
        run(linear(CountsItsCalls), processes=1)
    assert CountsItsCalls.calls > 50


class CountsInABuffer(nn.Linear):
    """It replaces a buffer; by vmap that would be lost."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.calls = self.calls + 1
        return super().forward(x)


def test_a_model_that_replaces_its_buffers_keeps_them():
    from tests.path.test_stacking import job_of

    from penalize.path.training.chunk import train_chunk

    job = job_of(lambda: linear(CountsInABuffer), {"weight": L2_})
    steps = -(-min(map(len, job.data.train)) // 16) * 3
    apart = train_chunk(dataclasses.replace(job, stacked=False), ((0, 0),), lambda: None)
    assert apart.weights["calls"].tolist() == [steps]


L2_ = WINE["weights"]["weight"]


@pytest.mark.filterwarnings("ignore::penalize.path.NotStackedWarning")
def test_errors_of_workers_are_one_line():
    with pytest.raises(PenalizeError, match="training failed: RuntimeError: no more"):
        run(linear(Failing), processes=2)
    with pytest.raises(PenalizeError, match="a worker process ended before its work was done.*pass processes=1"):
        run(linear(Dying), processes=2)


def test_a_recurrent_model_that_vmap_is_slow_for_goes_to_workers():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.LSTM(13, 4, batch_first=True)
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.cell(x[:, None])[0][:, -1])

    with pytest.warns(NotStackedWarning, match=NOT):
        path = run(Recurrent, weights={"head.weight": L2_}, processes=1, epochs=1)
    assert np.isfinite(path.score).all()


def test_processes_are_cores_by_default_and_one_for_stacks(monkeypatch):
    asked = []
    monkeypatch.setattr(LocalBackend, "__init__", lambda self, processes: asked.append(processes))
    monkeypatch.setattr(LocalBackend, "__call__", lambda self, job, chunks, advance: iter(()))
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    with pytest.warns(NotStackedWarning, match="in 7 worker processes"):
        run(linear(Branching))
    run(linear())
    assert asked == [7, 1]


def test_a_gradient_that_is_rounding_alone_does_not_hinder_a_stack():
    """A bias before a BatchNorm has no gradient but rounding, of which no digit need agree."""

    def normalized():
        sizes = (13, 40, 40)
        parts = [part for n, m in itertools.pairwise(sizes) for part in (nn.Linear(n, m), nn.BatchNorm1d(m), nn.ReLU())]
        return nn.Sequential(*parts, nn.Linear(40, 3))

    def large_loss(output, y):
        return 1000 * nn.functional.cross_entropy(output, y)

    path = run(normalized, epochs=1, weights={"*.weight": L2(1.0)}, loss=large_loss)
    assert path.settings["stacked"] is True
