"""The one way into HDF5 files of strangers: what is not plain numbers in plain groups is refused before it is read."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from penalize.errors import FileFormatError, MissingExtraError
from penalize.saving.arrays import RAW_BFLOAT16

__all__ = ["Dataset", "File", "open_hdf5"]

MOST_DEPTH = 64
MOST_OBJECTS = 200_000
MOST_ATTRIBUTES = 64
MOST_ATTRIBUTE_BYTES = 2**24
KINDS = "iufb"
FILTERS = ("gzip", "shuffle")


@dataclass(frozen=True)
class Dataset:
    """An array that is not read yet."""

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    handle: Any

    @property
    def size(self) -> int:
        """How many values it says it has."""
        return math.prod(self.shape)


class File:
    """The groups and datasets of an open file, found by hard links, each once; nothing is read yet."""

    def __init__(self, handle: Any, what: str) -> None:
        self.what = what
        self.handle = handle
        self.datasets: dict[str, Dataset] = {}
        self.groups: dict[str, Any] = {"": handle}
        self._walk()

    def read(self, dataset: Dataset, out: np.ndarray) -> None:
        """Fill an array of the dataset's shape and dtype."""
        with self.named(dataset.path):
            if dataset.shape:
                dataset.handle.read_direct(out)
            else:
                out[...] = dataset.handle[()]

    def attribute(self, group: str, name: str) -> Any:
        """An attribute of a group, text or a list of texts; None where there is none."""
        with self.named(f"{group}@{name}"):
            attributes = self.groups[group].attrs
            if name not in attributes:
                return None
            identity = attributes.get_id(name)
            size = math.prod(identity.shape) * identity.dtype.itemsize
            if size > MOST_ATTRIBUTE_BYTES or identity.shape not in [(), (len_of(identity),)]:
                raise self.error(f"the attribute {name!r} is too large")
            return _text(attributes[name])

    def error(self, message: str) -> FileFormatError:
        """An error of this file."""
        return FileFormatError(f"{self.what}: {message}")

    @contextlib.contextmanager
    def named(self, path: str) -> Iterator[None]:
        """Whatever HDF5 raises inside becomes an error of this file that names the object."""
        try:
            yield
        except FileFormatError:
            raise
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, AttributeError) as error:
            raise self.error(f"cannot be read at {path[:80]!r}: {_shortened(error)}") from error
        except MemoryError as error:
            raise self.error(f"not enough memory for {path[:80]!r}") from error

    def _walk(self) -> None:
        import h5py

        seen: set[Any] = set()
        waiting: list[tuple[str, Any, int]] = [("", self.handle, 0)]
        while waiting:
            path, group, depth = waiting.pop()
            with self.named(path):
                if depth > MOST_DEPTH:
                    raise self.error(f"groups are nested deeper than {MOST_DEPTH}")
                self._count(group, path, seen)
                for name in group:
                    inside = f"{path}/{name}" if path else name
                    link = group.get(name, getlink=True)
                    if type(link) is not h5py.HardLink:
                        raise self.error(f"{inside[:80]!r} is a {type(link).__name__}; only hard links are read")
                    thing = group[name]
                    if isinstance(thing, h5py.Group):
                        self.groups[inside] = thing
                        waiting.append((inside, thing, depth + 1))
                    elif isinstance(thing, h5py.Dataset):
                        self._count(thing, inside, seen)
                        self.datasets[inside] = self._checked(thing, inside)
                    else:
                        raise self.error(f"{inside[:80]!r} is neither a group nor a dataset")

    def _count(self, thing: Any, path: str, seen: set[Any]) -> None:
        """Every object once: a second link to it, or to a group around it, is refused."""
        import h5py

        address = h5py.h5o.get_info(thing.id).addr
        if address in seen:
            raise self.error(f"{path[:80]!r} is linked twice")
        seen.add(address)
        if len(seen) > MOST_OBJECTS:
            raise self.error(f"more than {MOST_OBJECTS} groups and datasets")
        if len(thing.attrs) > MOST_ATTRIBUTES:
            raise self.error(f"{path[:80]!r} has more than {MOST_ATTRIBUTES} attributes")

    def _checked(self, dataset: Any, path: str) -> Dataset:
        """A dataset of plain numbers that lie in this file."""
        shown = repr(path[:80])
        properties = dataset.id.get_create_plist()
        if properties.get_external_count() or dataset.is_virtual:
            raise self.error(f"{shown} keeps its values outside of this file")
        kind = dataset.dtype
        raw_bfloat16 = kind == RAW_BFLOAT16 and _is_text(dataset.attrs, "dtype", "bfloat16")
        if (
            (kind.kind not in KINDS and not raw_bfloat16)
            or kind.names is not None
            or kind.subdtype is not None
            or kind.metadata
        ):
            raise self.error(f"{shown} has values of type {kind!s:.60}; only numbers are read")
        filters = [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]
        import h5py

        if any(number not in (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE) for number in filters):
            raise self.error(f"{shown} is packed by a filter other than {' and '.join(FILTERS)}")
        shape = dataset.shape
        if shape is None or len(shape) > 32:
            raise self.error(f"{shown} has no shape that an array can have")
        if dataset.chunks is not None and any(c > max(s, 1) for c, s in zip(dataset.chunks, shape, strict=True)):
            raise self.error(f"{shown} has chunks larger than itself")
        if dataset.size and not dataset.id.get_storage_size():
            raise self.error(f"{shown} claims {dataset.size} values and holds none")
        return Dataset(path, tuple(int(size) for size in shape), kind, dataset)


@contextlib.contextmanager
def open_hdf5(source: BinaryIO, what: str) -> Iterator[File]:
    """The HDF5 file in an open binary file; `what` stands in front of errors.

    Raises FileFormatError for what is no such file, or holds links, virtual or external datasets, other types than
    numbers, or other filters than gzip and shuffle.
    """
    h5py = require_h5py()
    try:
        handle = h5py.File(source, "r", locking=False)
    except (OSError, RuntimeError, ValueError, KeyError, MemoryError) as error:
        raise FileFormatError(f"{what}: no HDF5 file, or a broken one: {_shortened(error)}") from error
    try:
        yield File(handle, what)
    finally:
        with contextlib.suppress(RuntimeError, OSError, ValueError):
            handle.close()


def require_h5py() -> Any:
    """The h5py library, which the extra "files" brings."""
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise MissingExtraError('h5py is not installed: pip install "penalize[files]"') from error
    return h5py


def len_of(identity: Any) -> int:
    return int(identity.shape[0]) if len(identity.shape) == 1 else 0


def _is_text(attributes: Any, name: str, wanted: str) -> bool:
    return name in attributes and attributes.get_id(name).shape == () and attributes[name] == wanted


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "strict")
    if isinstance(value, np.ndarray):
        return [_text(item) for item in value.tolist()]
    return value


def _shortened(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
