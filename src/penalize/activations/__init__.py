"""Keras's activation functions on torch tensors, by torch's own wherever it has them."""

from penalize.activations import functions
from penalize.activations.functions import *  # noqa: F403  the names that functions.__all__ lists
from penalize.activations.identifiers import deserialize, get, serialize

swish = functions.silu
hard_swish = functions.hard_silu

__all__ = [*functions.__all__, "deserialize", "get", "hard_swish", "serialize", "swish"]
