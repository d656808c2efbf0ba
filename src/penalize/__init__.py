"""Keras' layer regularizers for PyTorch, penalties on any `nn.Module`, and whole regularization paths at once."""

from penalize import regularizers, saving
from penalize.regularizers import Regularizer

__all__ = ["Regularizer", "regularizers", "saving"]
