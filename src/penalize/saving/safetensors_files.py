"""safetensors files of strangers, read here: the header is checked as a whole before a tensor takes memory."""

from __future__ import annotations

import math
import os
import struct
from typing import Any, BinaryIO

import torch

from penalize.errors import FileFormatError
from penalize.strict_json import MOST_BYTES, parse

__all__ = ["read_safetensors"]

METADATA = "__metadata__"
KEYS = {"dtype", "shape", "data_offsets"}
MOST_RANK = 32
MOST_LETTERS = 1_000
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_safetensors(file: BinaryIO, what: str) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file by name; `what` stands in front of errors.

    Raises FileFormatError for all that safetensors' own reader refuses: tensors that overlap, leave a gap, or do not
    have the size of their shape; also for keys that stand twice, and dtypes that weights do not have.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    beginning = file.read(8)
    length = struct.unpack("<Q", beginning)[0] if len(beginning) == 8 else 0
    if not 2 <= length <= min(size - 8, MOST_BYTES):
        raise FileFormatError(f"{what}: no safetensors file, or a broken one: a header of {length} bytes")
    try:
        header = parse(file.read(length), f"{what}: the header")
    except ValueError as error:
        raise FileFormatError(str(error)) from error
    if not isinstance(header, dict):
        raise FileFormatError(f"{what}: the header is no object")
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FileFormatError(f"{what}: {METADATA} must be an object of strings, got {metadata!r:.80}")
    places = sorted((_place(name, entry, what) for name, entry in header.items()), key=lambda place: place[:2])
    end = 0
    for start, stop, name in places:
        if start != end:
            raise FileFormatError(f"{what}: {name!r:.80} does not begin where the tensor before it ends")
        end = stop
    if end != size - 8 - length:
        raise FileFormatError(f"{what}: the tensors hold {end} bytes, and the file {size - 8 - length}")
    return {name: _read(file, 8 + length + start, stop - start, header[name], what) for start, stop, name in places}


def _place(name: str, entry: Any, what: str) -> tuple[int, int, str]:
    """Where a tensor begins and ends, of the size that its shape has."""
    shown = repr(name[:80])
    if not 0 < len(name) <= MOST_LETTERS or not name.isprintable():
        raise FileFormatError(f"{what}: {shown} is no name of a weight")
    if not isinstance(entry, dict) or set(entry) != KEYS:
        raise FileFormatError(f"{what}: {shown} must have {', '.join(sorted(KEYS))}, got {entry!r:.80}")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in DTYPES:
        raise FileFormatError(f"{what}: {shown} has an unknown dtype, {kind!r:.80}")
    if not _are_sizes(shape) or len(shape) > MOST_RANK:
        raise FileFormatError(f"{what}: {shown} has no shape that a tensor can have: {shape!r:.80}")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise FileFormatError(f"{what}: {shown} has no place in the file: {offsets!r:.80}")
    needed = math.prod(shape) * DTYPES[kind].itemsize
    if offsets[1] - offsets[0] != needed:
        raise FileFormatError(f"{what}: {shown} needs {needed} bytes for its shape, and has {offsets[1] - offsets[0]}")
    return offsets[0], offsets[1], name


def _read(file: BinaryIO, start: int, size: int, entry: dict[str, Any], what: str) -> torch.Tensor:
    content = bytearray(size)
    file.seek(start)
    if file.readinto(content) != size:  # type: ignore[attr-defined]
        raise FileFormatError(f"{what}: it ends too early")
    kind = DTYPES[entry["dtype"]]
    if not size:
        return torch.empty(entry["shape"], dtype=kind)
    if kind == torch.bool:
        # Any byte can stand where True or False belongs.
        return torch.frombuffer(content, dtype=torch.uint8).reshape(entry["shape"]) != 0
    return torch.frombuffer(content, dtype=kind).reshape(entry["shape"])


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 2**63 for size in value)
