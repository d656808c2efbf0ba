"""Models that train with their penalties, on Lightning's Trainer."""

from penalize.models.cloning import clone_model
from penalize.models.history import History
from penalize.models.json_files import model_from_json
from penalize.models.model import Model
from penalize.models.sequential import Sequential
from penalize.saving import load_model, save_model

__all__ = ["History", "Model", "Sequential", "clone_model", "load_model", "model_from_json", "save_model"]
