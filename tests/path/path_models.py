"""Models for tests in other processes: of a module that can be imported there."""

import os
import signal
import sys
from pathlib import Path

import torch
from sklearn.datasets import load_wine
from torch import nn

from penalize.path import regularization_path
from penalize.regularizers import L1, L2


class Branching(nn.Linear):
    """It looks at values, which no stack allows."""

    def forward(self, x):
        return super().forward(x) if float(x.sum()) > -1e9 else x


class Failing(Branching):
    """It fails in its second epoch; the error is the model's own."""

    calls = 0

    def forward(self, x):
        self.calls += torch.is_grad_enabled()
        if self.calls > 5:
            raise RuntimeError("no more")
        return super().forward(x)


class Dying(Branching):
    """It ends the worker process that it is trained in."""

    def __getstate__(self):
        return {"sent_from": os.getpid(), **self.__dict__}

    def forward(self, x):
        if self.__dict__.get("sent_from", os.getpid()) != os.getpid():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)


class Tied(nn.Module):
    """Two layers have one weight."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(13, 13)
        self.second = nn.Linear(13, 13)
        self.second.weight = self.first.weight
        self.head = nn.Linear(13, 3)

    def forward(self, x):
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))))


WINE = {"weights": {"weight": L2(1.0)}, "strengths": [1e-3, 1e-1], "folds": 3, "epochs": 2, "learning_rate": 0.01}
RESUMED = {
    "weights": {"*.weight": L1(1.0)},
    "strengths": [1e-3, 3e-3, 1e-2, 3e-2, 0.1],
    "folds": 4,
    "epochs": 5,
    "proximal": True,
    "early_stopping": 3,
    "chunk": 3,
    "learning_rate": 0.01,
}


def small():
    return nn.Sequential(nn.Linear(13, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 3))


def resumed(folder):
    """A path of seven chunks, which keeps what is finished in a folder."""
    x, y = load_wine(return_X_y=True)
    torch.set_num_threads(1)
    return regularization_path(small, x, y, **RESUMED, resume=folder)


if __name__ == "__main__":
    resumed(Path(sys.argv[1]))
