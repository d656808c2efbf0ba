"""Writing several files together: all of them or none, and never a half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from penalize.errors import ArgumentError

__all__ = ["prepare_folder", "remove_folders", "write_together"]


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write each file beside its place, then rename all into place; a failure before that leaves old files whole."""
    beside = {path: path.with_name(f".{path.name}.{os.getpid()}") for path in files}
    try:
        for path, content in files.items():
            beside[path].write_bytes(content)
        for path, temporary in beside.items():
            os.replace(temporary, path)
    finally:
        for temporary in beside.values():
            temporary.unlink(missing_ok=True)


def prepare_folder(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """Make sure now that files of these names can be written later; returns the folders that were made for it.

    Raises ArgumentError when the folder cannot be made or written, or one of the names is a folder.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        remove_folders(made)
        raise ArgumentError(
            f"out must be a folder that can be written, got {str(folder)!r}: {error.strerror}"
        ) from error
    for name in names:
        if (folder / name).is_dir():
            raise ArgumentError(f"out must be a folder where {name} can be written, but {folder / name} is a folder")
    return made


def remove_folders(folders: list[Path]) -> None:
    """Remove folders, the innermost first, as far as they are there and empty."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
