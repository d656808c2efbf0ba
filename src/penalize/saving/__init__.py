"""Configs and files: for now the registration of custom classes and functions."""

from penalize.registry import register_serializable

__all__ = ["register_serializable"]
