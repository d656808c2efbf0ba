"""Configs and files: the registration of custom classes and functions."""

from penalize.registry import custom_object_scope, register_serializable

# Keras's name for the same, so that its examples run as they are.
register_keras_serializable = register_serializable

__all__ = ["custom_object_scope", "register_keras_serializable", "register_serializable"]
