"""HOW penalties reach the weights: added to the loss, or at an optimizer's step."""

from penalize.binding.attaching import attach
from penalize.binding.penalties import Penalties, attached

__all__ = ["Penalties", "attach", "attached"]
