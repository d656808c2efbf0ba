"""The one parser of JSON from strangers: strict, and bounded before anything is built; and the reading of their files.

Refused are duplicate keys, NaN and Infinity, also where a number is as large as that, numbers of many digits, deep
nesting, lone surrogates, and text that is not UTF-8 or longer than a config can be. Of files, all that are not regular
ones.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO

from penalize.arguments import as_path
from penalize.errors import ConfigError, FileError, PenalizeError

__all__ = ["MOST_BYTES", "open_regular_file", "parse", "read_small_file"]

MOST_BYTES = 2**24
MOST_DEPTH = 64
MOST_DIGITS = 40
MOST_VALUES = 10**6

# A string that does not end is taken to the end of the text, and nothing is tried twice: time and memory stay linear.
_TEXT_OR_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def parse(text: str | bytes, what: str) -> Any:
    """The value that a JSON text describes; `what` stands in front of errors.

    Raises ConfigError for everything above.

    >>> parse('{"units": 3}', "a config")
    {'units': 3}
    >>> parse('{"units": 3, "units": 4}', "a config")
    Traceback (most recent call last):
    ...
    penalize.errors.ConfigError: a config: the key 'units' stands twice in one object
    """
    if isinstance(text, bytes):
        if len(text) > MOST_BYTES:
            raise ConfigError(f"{what}: more than {MOST_BYTES} bytes")
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{what}: not UTF-8: {error.reason} at byte {error.start}") from None
    if not isinstance(text, str):
        raise ConfigError(f"{what}: expected JSON text, got {type(text).__name__}")
    if len(text) > MOST_BYTES:
        raise ConfigError(f"{what}: more than {MOST_BYTES} characters")
    _check_nesting(text, what)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = set()
        for key, _ in pairs:
            if key in keys:
                raise ConfigError(f"{what}: the key {key[:80]!r} stands twice in one object")
            keys.add(key)
        return dict(pairs)

    def constant(name: str) -> Any:
        raise ConfigError(f"{what}: {name} is no JSON number")

    def number(digits: str) -> Any:
        if len(digits) > MOST_DIGITS:
            raise ConfigError(f"{what}: a number of {len(digits)} characters; {MOST_DIGITS} are the most")
        if not set(digits) & set(".eE"):
            return int(digits)
        value = float(digits)
        # JSON has no infinity, and 1e999 is one way to write it.
        if math.isinf(value):
            raise ConfigError(f"{what}: {digits} is too large a number")
        return value

    try:
        value = json.loads(text, object_pairs_hook=once, parse_constant=constant, parse_int=number, parse_float=number)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{what}: no JSON: {error.msg} at character {error.pos}") from None
    _check_texts(value, what)
    return value


def read_small_file(path: str | os.PathLike[str], most_bytes: int = MOST_BYTES) -> bytes:
    """What a regular file of at most `most_bytes` bytes holds.

    Nothing else is opened or waited for: a pipe, a device, a socket or a folder is refused by what the file system says
    of it. Raises FileError, naming the path; ArgumentError when `path` is no path.

    >>> read_small_file("/dev/zero", 100)
    Traceback (most recent call last):
    ...
    penalize.errors.FileError: /dev/zero: not a regular file
    """
    with open_regular_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most_bytes:
            raise FileError(f"{path}: {size} bytes; {most_bytes} are the most")
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise FileError(f"{path}: more than {most_bytes} bytes")
    return content


@contextlib.contextmanager
def open_regular_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """An open file of bytes, the one way to every file that is read.

    Pipes, devices, sockets and folders are refused by what the file system says of them, and never waited for. Raises
    FileError, naming the path, also for what the file system refuses while it is read; ArgumentError when `path` is no
    path.
    """
    as_path(path)
    try:
        _require_regular(os.stat(path), path)
        # Whatever stands there by now: a pipe without a writer is opened at once with O_NONBLOCK, and refused.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise FileError(f"{os.fspath(path)!r:.80}: {error}") from error
    try:
        with open(descriptor, "rb") as file:
            _require_regular(os.fstat(descriptor), path)
            yield file
    except PenalizeError:
        raise
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error


def _require_regular(status: os.stat_result, path: str | os.PathLike[str]) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise FileError(f"{path}: not a regular file")


def _check_nesting(text: str, what: str) -> None:
    depth = values = 0
    for found in _TEXT_OR_BRACKET.finditer(text):
        mark = found.group()
        if mark in "[{":
            depth += 1
            if depth > MOST_DEPTH:
                raise ConfigError(f"{what}: nested deeper than {MOST_DEPTH}")
        elif mark in "]}":
            depth -= 1
        values += mark in "[{,"
    if values > MOST_VALUES:
        raise ConfigError(f"{what}: more than {MOST_VALUES} values")


def _check_texts(value: Any, what: str) -> None:
    """Lone surrogates are no text: they cannot be written into messages or files."""
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise ConfigError(f"{what}: a string holds half of a surrogate pair")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_texts(key, what)
            _check_texts(item, what)
    elif isinstance(value, list):
        for item in value:
            _check_texts(item, what)
