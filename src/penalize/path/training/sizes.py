"""How many models are trained together: what is fast, and what fits into memory."""

from __future__ import annotations

import copy

import torch

from penalize.binding import attached
from penalize.errors import ArgumentError
from penalize.path.training.job import Job
from penalize.path.training.scoring import rows_at_once

__all__ = ["chunk_size", "model_bytes"]

MEBIBYTE = 2**20
# Measured on one thread: a model-step takes least near so many multiplications in the forward
# pass of a stack (32 to 64 perceptrons 64-64-64-10 at batch size 32, 256 or more of 64-16-10).
FAST = 10_000_000
LEAST, MOST = 32, 256
# What libraries take for themselves when they first compute.
RESERVE = 24 * MEBIBYTE


def chunk_size(job: Job, chunk: int | None, memory: float | None) -> int:
    """The number of models that are trained together: `chunk`, or a fast one, and no more than fit into `memory` MiB.

    ArgumentError where not even one fits, or fewer than `chunk`.
    """
    weights = sum(weight.numel() for weight in job.base.parameters())
    fast = max(LEAST, min(MOST, FAST // (weights * job.training.batch_size)))
    size = fast if chunk is None else chunk
    if memory is None:
        return size
    one = model_bytes(job)
    fit = int((memory * MEBIBYTE - RESERVE) // one)
    if fit < (1 if chunk is None else chunk):
        models = "a single model needs" if chunk is None else f"chunk={chunk} models need"
        needed = (RESERVE + one * (1 if chunk is None else chunk)) / MEBIBYTE
        raise ArgumentError(f"memory must be at least {needed:.0f} MiB, which {models}, got {memory:g}")
    return min(size, fit)


def model_bytes(job: Job) -> int:
    """An upper estimate of the bytes that each model of a stack takes while it is trained and scored.

    Weights, gradients, states of the optimizer and copies are counted; the activations of a batch are measured on one
    model.
    """
    training = job.training
    trained = [weight for weight in job.base.parameters() if weight.requires_grad]
    of_trained = sum(weight.nbytes for weight in trained)
    of_others = sum(tensor.nbytes for tensor in [*job.base.parameters(), *job.base.buffers()]) - of_trained
    # Beside weights and gradients: the copies of one fold's models that are scored.
    copies = 3 + (2 if training.early_stopping is not None else 0) + (1 if training.warm_start else 0)
    passing = 4 * max(weight.nbytes for weight in trained)
    per_row = _activation_bytes(job) / min(training.batch_size, len(job.data.train[0]))
    rows = max(2 * training.batch_size, min(rows_at_once(job), max(map(len, job.data.train))))
    inputs = 3 * training.batch_size * job.data.x[0, :1].nbytes
    outputs = 4 * max(map(len, job.data.train)) * job.data.classes * 8
    states = _state_bytes(job, trained)
    return int(copies * of_trained + states + passing + (copies - 1) * of_others + rows * per_row + inputs + outputs)


def _state_bytes(job: Job, weights: list[torch.nn.Parameter]) -> int:
    # On empty weights of the same number of axes: states are of the weight's shape, or numbers.
    small = [torch.nn.Parameter(torch.ones(1, dtype=weight.dtype)) for weight in weights]
    for weight in small:
        weight.grad = torch.ones_like(weight)
    optimizer = job.training.optimizer.build(small)
    optimizer.step()
    total = 0
    for weight, own in zip(weights, small, strict=True):
        tensors = [value for value in optimizer.state[own].values() if isinstance(value, torch.Tensor)]
        total += weight.nbytes * sum(value.shape == own.shape for value in tensors)
    return total


def _activation_bytes(job: Job) -> int:
    """What one model's call on a batch keeps for its gradients."""
    model = copy.deepcopy(job.base)
    for penalties in attached(model):
        penalties.detach()
    held = {tensor.untyped_storage().data_ptr() for tensor in [*model.parameters(), *model.buffers()]}
    sizes: dict[int, int] = {}
    kept: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in held:
            sizes[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor)
        return tensor

    rows = job.data.train[0][: job.training.batch_size]
    with torch.random.fork_rng(devices=[]), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model.train()(job.data.x[0, rows])
    return sum(sizes.values()) + 2 * int(output.nbytes)
