"""Writing several files together: all of them or none, and never a half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from penalize.errors import ArgumentError

__all__ = ["prepare_folder", "write_together"]


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write each file beside its place, then rename all into place; a failure before that leaves old files whole."""
    written: dict[Path, Path] = {}
    try:
        for path, content in files.items():
            descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            written[path] = Path(name)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.chmod(name, 0o644)
        for path, temporary in written.items():
            os.replace(temporary, path)
    finally:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)


def prepare_folder(folder: Path, names: tuple[str, ...]) -> bool:
    """Make sure now that files of these names can be written later; says whether the folder was made.

    Raises ArgumentError when the folder cannot be made or written, or one of the names is a folder.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ArgumentError(
            f"out must be a folder that can be written, got {str(folder)!r}: {error.strerror}"
        ) from error
    for name in names:
        if (folder / name).is_dir():
            raise ArgumentError(f"out must be a folder where {name} can be written, but {folder / name} is a folder")
    return made
