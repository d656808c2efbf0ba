"""HOW penalties reach the weights: added to the loss, or at an optimizer's step."""

from penalize.binding.penalties import Penalties, attach, attached

__all__ = ["Penalties", "attach", "attached"]
