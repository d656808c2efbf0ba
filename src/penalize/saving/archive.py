"""The one way into zip files of strangers: exactly the expected members, once each, of the size that they say."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from penalize.configs import printable
from penalize.errors import FileFormatError
from penalize.strict_json import open_regular_file

__all__ = ["Member", "members_of", "open_regular_file", "read_member", "window"]

Member = zipfile.ZipInfo

MOST_MEMBERS = 1_000
MOST_BYTES = 2**40
MOST_RATIO = 1_000
MOST_IN_MEMORY = 2**32
"""The most bytes of a packed member, which is unpacked in memory."""
CHUNK = 2**20
LOCAL_HEADER = struct.Struct("<4s5H3L2H")


def members_of(file: BinaryIO, what: str) -> dict[str, Member]:
    """The members of a zip file by name.

    Raises FileFormatError for what is no zip file, or one that begins with something else, and for members that stand
    twice, overlap, are encrypted, links or folders elsewhere, or say that they hold more than can be.
    """
    size = file.seek(0, os.SEEK_END)
    try:
        archive = zipfile.ZipFile(file)
        infos = archive.infolist()
    except Exception as error:  # of any kind, by what is broken
        raise FileFormatError(f"{what}: no zip file, or a broken one: {printable(str(error))}") from error
    if len(infos) > MOST_MEMBERS:
        raise FileFormatError(f"{what}: {len(infos)} members; {MOST_MEMBERS} are the most")
    found: dict[str, Member] = {}
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        name = info.filename
        shown = repr(name[:80])
        if name in found:
            raise FileFormatError(f"{what}: the member {shown} stands twice")
        if not _is_plain(info.orig_filename):
            raise FileFormatError(f"{what}: the member {shown} has a name that leads elsewhere")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or info.flag_bits & 0x41:
            raise FileFormatError(f"{what}: the member {shown} is a link or encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise FileFormatError(f"{what}: the member {shown} is compressed in an unknown way")
        if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
            raise FileFormatError(f"{what}: the member {shown} says two sizes")
        if info.file_size > min(MOST_BYTES, MOST_RATIO * max(info.compress_size, 512)):
            raise FileFormatError(f"{what}: the member {shown} claims {info.file_size} bytes")
        if not 0 <= info.header_offset < size:
            raise FileFormatError(f"{what}: the member {shown} lies outside of the file")
        start = _start_of(file, info, what)
        if info.header_offset < end or start + info.compress_size > size:
            raise FileFormatError(f"{what}: the member {shown} overlaps another one, or the end of the file")
        if not found and info.header_offset != 0:
            raise FileFormatError(f"{what}: it does not begin with a member")
        end = start + info.compress_size
        found[name] = info
    return found


def read_member(file: BinaryIO, info: Member, most_bytes: int, what: str) -> bytes:
    """What a member holds, checked against its size and checksum; at most `most_bytes`."""
    if info.file_size > most_bytes:
        raise FileFormatError(f"{what}: {info.filename[:80]!r} has {info.file_size} bytes; {most_bytes} are the most")
    content = io.BytesIO()
    for chunk in _unpacked(file, info, what):
        content.write(chunk)
    return content.getvalue()


def window(file: BinaryIO, info: Member, what: str) -> BinaryIO:
    """A member as a file that can be sought in, its checksum checked; one that is stored takes no memory."""
    if info.compress_type != zipfile.ZIP_STORED:
        return io.BytesIO(read_member(file, info, MOST_IN_MEMORY, what))
    for _ in _unpacked(file, info, what):
        pass
    return io.BufferedReader(_Window(file, _start_of(file, info, what), info.file_size))


class _Window(io.RawIOBase):
    """A part of an open file."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self.file = file
        self.start = start
        self.size = size
        self.place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.place, os.SEEK_END: self.size}[whence]
        self.place = max(0, base + offset)
        return self.place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self.file.seek(self.start + self.place)
        left = max(0, self.size - self.place)
        count: int = self.file.readinto(buffer[: min(len(buffer), left)])  # type: ignore[attr-defined]
        self.place += count
        return count


def _unpacked(file: BinaryIO, info: Member, what: str) -> Iterator[bytes]:
    """The bytes of a member, in chunks, never more than it says."""
    file.seek(_start_of(file, info, what))
    unpacker = None if info.compress_type == zipfile.ZIP_STORED else zlib.decompressobj(-15)
    left, count, checksum = info.compress_size, 0, 0
    shown = repr(info.filename[:80])
    while left or (unpacker is not None and unpacker.unconsumed_tail):
        packed = unpacker.unconsumed_tail if unpacker is not None else b""
        if not packed:
            packed = file.read(min(CHUNK, left))
            left -= len(packed)
            if not packed:
                raise FileFormatError(f"{what}: the member {shown} ends too early")
        try:
            chunk = packed if unpacker is None else unpacker.decompress(packed, CHUNK)
        except zlib.error as error:
            raise FileFormatError(f"{what}: the member {shown} is broken: {error}") from error
        count += len(chunk)
        checksum = zlib.crc32(chunk, checksum)
        if count > info.file_size:
            break
        yield chunk
        if unpacker is not None and unpacker.eof:
            break
    if count != info.file_size or checksum != info.CRC:
        raise FileFormatError(f"{what}: the member {shown} is broken: its size or checksum is another one")


def _start_of(file: BinaryIO, info: Member, what: str) -> int:
    """Where the bytes of a member begin: behind its own header, which must agree with the directory."""
    file.seek(info.header_offset)
    header = file.read(LOCAL_HEADER.size)
    shown = repr(info.filename[:80])
    if len(header) != LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
        raise FileFormatError(f"{what}: the member {shown} has no header")
    *_, name_length, extra_length = LOCAL_HEADER.unpack(header)
    name = file.read(name_length)
    if name.decode("utf-8" if info.flag_bits & 0x800 else "cp437", "replace") != info.orig_filename:
        raise FileFormatError(f"{what}: the member {shown} has another name in its own header")
    return int(info.header_offset + LOCAL_HEADER.size + name_length + extra_length)


def _is_plain(name: str) -> bool:
    parts = name.rstrip("/").split("/")
    return (
        bool(name)
        and not name.startswith("/")
        and not any(part in ("", ".", "..") for part in parts)
        and not any(character in name for character in "\\:\0")
    )
