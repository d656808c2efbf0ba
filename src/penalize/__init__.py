"""Keras' layer regularizers for PyTorch, penalties on any `nn.Module`, and whole regularization paths at once."""

from penalize import regularizers, saving
from penalize.binding import Penalties, attach, attached
from penalize.regularizers import Regularizer

__all__ = ["Penalties", "Regularizer", "attach", "attached", "regularizers", "saving"]
