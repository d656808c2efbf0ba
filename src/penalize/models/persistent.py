"""`Persistent`: what files can hold of a model, and what they say of how it was compiled."""

from __future__ import annotations

import importlib
import os
from typing import Any

from penalize.models.functional import Functional

__all__ = ["Persistent"]


class Persistent(Functional):
    """A functional layer that is saved and loaded; the rooms of files are imported when they are asked for."""

    def save(self, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write the whole model into a `.keras` file, see `penalize.saving.save_model`.

        Raises ArgumentError, ConfigError and FileError; the file is then as it was.
        """
        importlib.import_module("penalize.saving.keras_files").save_model(self, filepath, overwrite)

    def save_weights(self, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write the weights alone: `.safetensors` (the default), `.weights.h5` or `.pt`.

        See `penalize.saving.save_weights`.
        """
        importlib.import_module("penalize.saving.weight_files").save_weights(self, filepath, overwrite)

    def load_weights(self, filepath: str | os.PathLike[str], skip_mismatch: bool = False) -> list[str]:
        """Set the weights from a file; the list of what `skip_mismatch` skipped.

        See `penalize.saving.load_weights`. Raises ShapeError for weights that do not fit; the model is then as it was.
        """
        skipped: list[str] = importlib.import_module("penalize.saving.weight_files").load_weights(
            self, filepath, skip_mismatch
        )
        return skipped

    def export(
        self,
        filepath: str | os.PathLike[str],
        format: str | None = None,
        verbose: bool | None = None,
        *,
        example_inputs: Any = None,
        overwrite: bool = True,
    ) -> None:
        """Write what the model computes to one file that runs without this package: `.pt2` for torch, or `.onnx`.

        Options, limits and errors are those of `penalize.saving.export.export_model`. Source: Keras 3.15.1,
        `keras.Model.export`.
        """
        importlib.import_module("penalize.saving.export").export_model(
            self, filepath, format=format, example_inputs=example_inputs, overwrite=overwrite, verbose=verbose
        )
