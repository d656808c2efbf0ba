"""Optimizers by Keras's names and arguments, built into `torch.optim` optimizers with Keras's update rules."""

from penalize.optimizers.base import Optimizer
from penalize.optimizers.identifiers import TorchOptimizer, deserialize, get, serialize
from penalize.optimizers.specs import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, Lion, Nadam, RMSprop

__all__ = [
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "SGD",
    "TorchOptimizer",
    "deserialize",
    "get",
    "serialize",
]
