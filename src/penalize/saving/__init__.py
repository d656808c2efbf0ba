"""Configs and files: registration of custom classes and functions, whole models, and weights alone."""

from penalize.registry import custom_object_scope, register_serializable
from penalize.saving.keras_files import load_model, save_model
from penalize.saving.weight_files import load_weights, save_weights

# Keras's name for the same, so that its examples run as they are.
register_keras_serializable = register_serializable

__all__ = [
    "custom_object_scope",
    "load_model",
    "load_weights",
    "register_keras_serializable",
    "register_serializable",
    "save_model",
    "save_weights",
]
