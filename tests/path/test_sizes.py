"""How many models are trained together, and how much memory that takes."""

import subprocess
import sys

import pytest
from tests.path.test_stacking import job_of, perceptron

from penalize.errors import ArgumentError
from penalize.path.network import multilayer_perceptron
from penalize.path.training.sizes import chunk_size
from penalize.regularizers import L2

WEIGHTS = {"*.weight": L2(1.0)}


def large():
    return multilayer_perceptron(13, [512, 512], 3)


def test_small_models_are_trained_in_larger_stacks():
    sizes = [chunk_size(job_of(model, WEIGHTS, batch_size=32), None, None) for model in (perceptron, large)]
    assert sizes == [256, 32]
    assert chunk_size(job_of(large, WEIGHTS), 5, None) == 5


def test_a_limit_of_memory_makes_stacks_smaller():
    job = job_of(large, WEIGHTS)
    sizes = [chunk_size(job, None, memory) for memory in (64, 128, 256, 512, 2048)]
    assert sizes == sorted(sizes)
    assert 1 <= sizes[0] < sizes[-1] == 32
    with pytest.raises(ArgumentError, match=r"memory must be at least \d+ MiB, which a single model needs, got 26"):
        chunk_size(job, None, 26)
    with pytest.raises(ArgumentError, match=r"memory must be at least \d+ MiB, which chunk=32 models need, got 128"):
        chunk_size(job, 32, 128)


PROGRAM = """
import sys
import torch
from sklearn.datasets import load_digits
from torch import nn
from penalize.path import regularization_path
from penalize.path.network import multilayer_perceptron
from penalize.regularizers import L1, GroupLasso

kind, memory = sys.argv[1], float(sys.argv[2])
torch.set_num_threads(1)
x, y = load_digits(return_X_y=True)
if kind == "chain":
    model, weights = multilayer_perceptron(64, [512, 512], 10), {"*.weight": L1(1.0)}
    more = {"proximal": True, "early_stopping": 2}
else:
    parts = nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()
    model = nn.Sequential(nn.Unflatten(1, (1, 8, 8)), *parts, nn.Flatten(), nn.Linear(1024, 10))
    weights, more = {"*.weight": GroupLasso(1.0, axis=0)}, {"proximal": True}

def run(strengths, rows, memory, epochs):
    return regularization_path(model, x[:rows], y[:rows], weights=weights, strengths=strengths, folds=3, epochs=epochs,
                               memory=memory, progress=False, **more)

def memory_held(what):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(what)) / 1024

run([0.1], 60, None, 1)  # libraries are loaded
# The peak begins anew; that of getrusage would begin with what the process held that started this one.
open("/proc/self/clear_refs", "w").write("5")
before = memory_held("VmRSS")
path = run([10 ** -(step / 4) for step in range(12)], 400, memory, 2)
print(memory_held("VmHWM") - before, path.settings["chunk"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("kind", "memory"), [("chain", 120), ("convolution", 150)])
def test_a_limit_of_memory_is_kept(kind, memory):
    command = [sys.executable, "-c", PROGRAM, kind, str(memory)]
    taken, size = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert float(taken) <= memory
    assert 1 <= int(size) < 36
    # Not by a wide margin: a limit that is left unused makes stacks small for nothing.
    assert float(taken) >= memory / 5
