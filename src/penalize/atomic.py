"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from penalize.arguments import as_path
from penalize.errors import FileError, PenalizeError

__all__ = ["replacing"]


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], *, overwrite: bool) -> Iterator[Path]:
    """An empty file beside `path`, to be written inside; it takes the place of `path` at the end, on the disk by then.

    After an error, also one raised inside, what stood at `path` is as it was and nothing is left beside it. An existing
    file keeps its permissions; a symbolic link is followed. A process that is killed inside leaves a file
    `.<16 hexadecimal digits>` with the suffix of `path`, which nothing reads and anyone may delete.

    Raises FileError when there is something at `path` without `overwrite`, when it is no regular file, when the folder
    cannot be written to, or when the disk is full.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "plan.json")
    ...     with replacing(path, overwrite=False) as beside:
    ...         _ = beside.write_text("{}")
    ...     path.read_text()
    '{}'
    """
    as_path(path)
    with _file_errors(path):
        place = Path(os.path.realpath(path))
        mode = _mode_of(place, path, overwrite)
        # The suffix stays: some writers look at it.
        beside = place.parent / f".{secrets.token_hex(8)}{place.suffix}"
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        with _disk_errors(path):
            yield beside
        with _file_errors(path):
            if mode is not None:
                beside.chmod(mode)
            _flush(beside, os.O_RDWR)
            if overwrite:
                beside.replace(place)
            else:
                _put_where_nothing_is(beside, place, path)
            if os.name == "posix":
                _flush(place.parent, os.O_RDONLY)
    finally:
        beside.unlink(missing_ok=True)


def _mode_of(place: Path, path: str | os.PathLike[str], overwrite: bool) -> int | None:
    """The permissions of what is to be replaced; None where nothing is."""
    try:
        status = place.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise FileError(f"{path}: not a regular file")
    if not overwrite:
        raise _exists(path)
    return stat.S_IMODE(status.st_mode)


def _put_where_nothing_is(beside: Path, place: Path, path: str | os.PathLike[str]) -> None:
    """Like `replace`, but what came to stand there in the meantime stays."""
    try:
        os.link(beside, place)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:  # a file system without hard links
        if place.exists():
            raise _exists(path) from None
        beside.replace(place)


def _exists(path: str | os.PathLike[str]) -> FileError:
    return FileError(f"{path}: exists already; pass overwrite=True to replace it")


def _flush(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _file_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{path}: {_reason(error)}") from error
    except ValueError as error:
        raise FileError(f"{os.fspath(path)!r:.80}: {error}") from error


@contextlib.contextmanager
def _disk_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """What the system says while the file is written becomes a FileError, also where a library covers it.

    On a full disk, torch and h5py raise a RuntimeError of their own while they handle the system's error.
    """
    handled = sys.exception()
    try:
        yield
    except PenalizeError:
        raise
    except (OSError, RuntimeError) as error:
        behind: BaseException | None = error
        while behind is not None and behind is not handled and not isinstance(behind, OSError):
            behind = behind.__context__
        if not isinstance(behind, OSError) or behind is handled:
            raise
        raise FileError(f"{path}: {_reason(behind)}") from error


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
