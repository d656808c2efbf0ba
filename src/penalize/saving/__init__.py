"""Configs and files: for now the registration of custom classes and functions."""

from penalize.registry import register_serializable

# Keras's name for the same, so that its examples run as they are.
register_keras_serializable = register_serializable

__all__ = ["register_keras_serializable", "register_serializable"]
