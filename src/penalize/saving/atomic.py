"""Writing a file so that its path holds the old file or the new one, whole, at every moment."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from penalize.errors import ExistingFileError, SavingError

__all__ = ["replacing"]


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], *, overwrite: bool) -> Iterator[Path]:
    """A new file to write in place of `path`: it takes the place when the block ends, and is removed if that fails.

    The file given stands beside `path`, with a name of its own and the same suffix, and is on the disk before it takes
    the place. It gets the permissions of the file that it replaces, or those that a new file has. A link is followed:
    what it points to is replaced.

    Raises ExistingFileError for an existing file without `overwrite`; SavingError for a directory, or anything else
    that is no file, for a directory around it that does not exist, and when the system refuses to write.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     with replacing(f"{directory}/notes.txt", overwrite=False) as file:
    ...         _ = file.write_text("whole")
    ...     os.listdir(directory), Path(directory, "notes.txt").read_text()
    (['notes.txt'], 'whole')
    """
    target = Path(os.path.realpath(path))
    mode = _mode_of(target, path, overwrite)
    try:
        descriptor, name = tempfile.mkstemp(suffix=target.suffix, prefix=f".{target.stem[:100]}.", dir=target.parent)
    except OSError as error:
        raise SavingError(f"{os.fspath(path)!r} cannot be written: {error.strerror}") from error
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        _keep(temporary, mode)
        if not overwrite:
            _take_free_place(temporary, target, path)
        else:
            temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, SavingError):
            raise
        raise SavingError(f"{os.fspath(path)!r} cannot be written: {error.strerror or error}") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(target.parent)


def _mode_of(target: Path, path: str | os.PathLike[str], overwrite: bool) -> int:
    """The permissions that the new file gets; SavingError where there can be none."""
    try:
        found = target.lstat()
    except FileNotFoundError:
        if target.parent.is_dir():
            return _ordinary_mode()
        raise SavingError(
            f"{os.fspath(path)!r} cannot be written: there is no directory {str(target.parent)!r}"
        ) from None
    except OSError as error:
        raise SavingError(f"{os.fspath(path)!r} cannot be written: {error.strerror}") from error
    if stat.S_ISDIR(found.st_mode):
        raise SavingError(f"{os.fspath(path)!r} is a directory: give the path of a file")
    if not stat.S_ISREG(found.st_mode):
        raise SavingError(f"{os.fspath(path)!r} is no ordinary file, and is left as it is")
    if not overwrite:
        raise _exists(path)
    return stat.S_IMODE(found.st_mode)


def _ordinary_mode() -> int:
    # The mask of a process can only be read by setting it.
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask


def _keep(file: Path, mode: int) -> None:
    """Give a file its permissions, and have it on the disk."""
    file.chmod(mode)
    _sync(file)


def _take_free_place(temporary: Path, target: Path, path: str | os.PathLike[str]) -> None:
    """Put the file there unless another one has come there since."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:
        # A file system without links.
        if target.exists():
            raise _exists(path) from None
        temporary.replace(target)
    else:
        temporary.unlink()


def _exists(path: str | os.PathLike[str]) -> ExistingFileError:
    return ExistingFileError(f"{os.fspath(path)!r} exists: give overwrite=True to replace it")


def _sync(path: Path) -> None:
    """Have what was written on the disk; directories of some systems cannot be asked to."""
    directory = path.is_dir()
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        if directory:
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError:
        if not directory:
            raise
    finally:
        os.close(descriptor)
