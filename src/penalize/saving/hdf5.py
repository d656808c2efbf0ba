"""The one way into HDF5 files of strangers: what is not plain numbers in plain groups is refused before it is read."""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import zlib
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
MOST_TEXT_BYTES = 2**28
MOST_ATTRIBUTE_BYTES = 2**24
MOST_CHUNKS = 10**6
MOST_RANK = 32
CHUNK = 2**24
HEAP = b"GCOL\x01"
KINDS = "iufb"
FILTERS = ("gzip", "shuffle")
# What h5py raises for what it cannot read.
BROKEN = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, AttributeError, NotImplementedError)


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

    def __init__(self, handle: Any, what: str, source: BinaryIO) -> None:
        self.what = what
        self.handle = handle
        self.source = source
        self._heaps_are_whole = False
        self._longest_text = 0
        self.datasets: dict[str, Dataset] = {}
        self.groups: dict[str, Any] = {"": handle}
        self._attributes: dict[tuple[str, str], Any] = {}
        self._walk()

    def read(self, dataset: Dataset, out: np.ndarray) -> None:
        """Fill an array of the dataset's shape and dtype."""
        with self.named(dataset.path):
            if dataset.handle.chunks is not None:
                self._read_chunks(dataset, out)
            elif dataset.shape:
                dataset.handle.read_direct(out)
            else:
                out[...] = dataset.handle[()]

    def attribute(self, group: str, name: str) -> Any:
        """An attribute of a group, text or a list of texts; None where there is none."""
        if (group, name) not in self._attributes:
            with self.named(f"{group}@{name}"):
                self._attributes[group, name] = self._text(self.groups[group].attrs, name)
        return self._attributes[group, name]

    def _text(self, attributes: Any, name: str) -> Any:
        import h5py

        if name not in attributes:
            return None
        identity = attributes.get_id(name)
        if 0 in (identity.shape or ()):
            return []  # Keras writes no names as an array of no numbers
        if identity.get_storage_size() > MOST_ATTRIBUTE_BYTES or len(identity.shape or ()) > 1:
            raise self.error(f"the attribute {name!r:.80} is too large")
        kind = identity.get_type()
        if not isinstance(kind, h5py.h5t.TypeStringID):
            raise self.error(f"the attribute {name!r:.80} is no text, and no list of texts")
        if kind.is_variable_str():
            self._check_heaps()
            # Many texts may be one and the same in the file: they are counted by what they could hold.
            if math.prod(identity.shape) * self._longest_text > MOST_TEXT_BYTES:
                raise self.error(f"the attribute {name!r:.80} is too large")
        return _text(attributes[name])

    def _check_heaps(self) -> None:
        """Refuse heaps, in which texts of any length lie, that HDF5 2.0 would read for ever: of free pieces of no size.

        Whatever begins as a heap does is taken for one: an address can lead anywhere.
        """
        if self._heaps_are_whole:
            return
        _, width = self.handle.id.get_create_plist().get_sizes()
        end = self.source.seek(0, io.SEEK_END)
        for place in _places_of(self.source, HEAP, end):
            self.source.seek(place)
            size = int.from_bytes(self.source.read(8 + width)[8:], "little")
            if not 16 <= size <= end - place:
                raise self.error("a heap of texts is larger than the file")
            self.source.seek(place)
            heap = self.source.read(size)
            at, header = -(-(8 + width) // 8) * 8, -(-(8 + width) // 8) * 8
            while size - at >= header:
                index = int.from_bytes(heap[at : at + 2], "little")
                held = int.from_bytes(heap[at + 8 : at + 8 + width], "little")
                step = header + -(-held // 8) * 8 if index else held
                if not header <= step <= size - at:
                    raise self.error("a heap of texts is broken")
                self._longest_text = max(self._longest_text, held)
                at += step
        self._heaps_are_whole = True

    def _read_chunks(self, dataset: Dataset, out: np.ndarray) -> None:
        """The chunks, unpacked here: HDF5 unpacks as much as a chunk says that it holds."""
        identity, stored = dataset.handle.id, dataset.dtype
        properties = identity.get_create_plist()
        packed = [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]
        chunks = dataset.handle.chunks
        bytes_of_chunk = math.prod(chunks) * stored.itemsize
        for start in itertools.product(*(range(0, n, c) for n, c in zip(dataset.shape, chunks, strict=True))):
            if identity.get_chunk_info_by_coord(start).size > 2 * bytes_of_chunk + 1024:
                raise self.error(f"{dataset.path[:80]!r}: a chunk is larger than its values")
            left_out, content = identity.read_direct_chunk(start)
            filters = [number for index, number in enumerate(packed) if not left_out >> index & 1]
            content = _unpacked(content, filters, stored.itemsize, bytes_of_chunk)
            if len(content) != bytes_of_chunk:
                raise self.error(f"{dataset.path[:80]!r}: a chunk does not hold its values")
            array = np.frombuffer(content, stored).reshape(chunks)
            place = tuple(slice(s, min(s + c, n)) for s, c, n in zip(start, chunks, dataset.shape, strict=True))
            out[place] = array[tuple(slice(0, part.stop - part.start) for part in place)]

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
        except (*BROKEN, zlib.error) as error:
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
                    # HDF5 would take such a name for a path, and follow it.
                    if not isinstance(name, str) or "/" in name or name in ("", "."):
                        raise self.error(f"a link in {path[:80]!r} has the name {name!r:.80}")
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
        raw_bfloat16 = kind == RAW_BFLOAT16 and self._text(dataset.attrs, "dtype") == "bfloat16"
        if (
            (kind.kind not in KINDS and not raw_bfloat16)
            or kind.names is not None
            or kind.subdtype is not None
            or kind.metadata
        ):
            raise self.error(f"{shown} has values of type {kind!s:.60}; only numbers are read")
        import h5py

        # Floats of another layout, say, that NumPy has no type for.
        if not raw_bfloat16 and not h5py.h5t.py_create(kind, logical=True).equal(dataset.id.get_type()):
            raise self.error(f"{shown} has values of a type that is not {kind!s:.60}, but like it")
        filters = [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]
        if any(number not in (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE) for number in filters):
            raise self.error(f"{shown} is packed by a filter other than {' and '.join(FILTERS)}")
        if len(set(filters)) != len(filters):
            raise self.error(f"{shown} is packed twice by one filter")
        shape = dataset.shape
        if shape is None or len(shape) > MOST_RANK:
            raise self.error(f"{shown} has no shape that an array can have")
        size = math.prod(shape)
        if dataset.chunks is not None:
            if any(c > max(s, 1) for c, s in zip(dataset.chunks, shape, strict=True)):
                raise self.error(f"{shown} has chunks larger than itself")
            expected = math.prod(-(-s // c) for c, s in zip(dataset.chunks, shape, strict=True))
            held = dataset.id.get_num_chunks() if expected <= MOST_CHUNKS else -1
        else:
            expected, held = size * kind.itemsize, dataset.id.get_storage_size()
        if size and held != expected:
            raise self.error(f"{shown} claims {size} values and does not hold them")
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
        yield File(handle, what, source)
    finally:
        with contextlib.suppress(RuntimeError, OSError, ValueError):
            handle.close()


def _places_of(file: BinaryIO, mark: bytes, end: int) -> Iterator[int]:
    """Where the bytes of `mark` stand in a file."""
    start = 0
    while start < end:
        file.seek(start)
        piece = file.read(CHUNK)
        place = piece.find(mark)
        while place >= 0:
            yield start + place
            place = piece.find(mark, place + 1)
        start += max(len(piece) - len(mark) + 1, 1)


def require_h5py() -> Any:
    """The h5py library, which the extra "files" brings."""
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise MissingExtraError('h5py is not installed: pip install "penalize[files]"') from error
    return h5py


def _unpacked(content: bytes, filters: list[int], itemsize: int, most: int) -> bytes:
    """What the filters made of a chunk of values, undone, the last one first; never much more than the chunk."""
    import h5py

    for number in reversed(filters):
        if number == h5py.h5z.FILTER_DEFLATE:
            content = zlib.decompressobj().decompress(content, most + 1)
        elif itemsize > 1:
            content = np.frombuffer(content, np.uint8).reshape(itemsize, -1).T.tobytes()
    return content


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "strict")
    if isinstance(value, np.ndarray):
        return [_text(item) for item in value.tolist()]
    return value


def _shortened(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
