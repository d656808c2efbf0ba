"""The parser of JSON from strangers: what it reads as `json` does, and what it refuses before building it."""

import json
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penalize.errors import ArgumentError, ConfigError, FileError, nearest
from penalize.strict_json import MOST_BYTES, MOST_DEPTH, MOST_DIGITS, parse, read_small_file

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_valid_json_is_read_as_json_reads_it(value):
    text = json.dumps(value)
    assert parse(text, "it") == value
    assert parse(text.encode(), "it") == value


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60))
def test_anything_else_is_our_error_or_valid(text):
    try:
        value = parse(text, "it")
    except ConfigError as error:
        value = error
    assert isinstance(value, ConfigError | dict | list | str | int | float | None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 1}', "it: the key 'a' stands twice in one object"),
        ('{"a": {"b": 1, "b": 2}}', "the key 'b' stands twice"),
        ("NaN", "NaN is no JSON number"),
        ("[Infinity, -Infinity]", "Infinity is no JSON number"),
        ("1" * (MOST_DIGITS + 1), "a number of 41 characters; 40 are the most"),
        ("1." + "1" * MOST_DIGITS, "a number of 42 characters"),
        ("[" * (MOST_DEPTH + 1), "nested deeper than 64"),
        ("[" * 10**5, "nested deeper than 64"),
        ('{"a":' * 3000 + "1" + "}" * 3000, "nested deeper than 64"),
        ('"\\ud800"', "half of a surrogate pair"),
        ('{"\\udfff": 1}', "half of a surrogate pair"),
        (b"\xff", "not UTF-8"),
        ("\ufeff{}", "no JSON"),
        ("", "no JSON"),
        ('{"a": 1', "no JSON"),
        ("[" + "1," * 10**6 + "1]", "more than 1000000 values"),
        (b" " * (2**24 + 1), "more than 16777216 bytes"),
        (3, "expected JSON text, got int"),
    ],
    ids=range(18),
)
def test_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        parse(text, "it")


def test_brackets_in_strings_do_not_count():
    assert parse(json.dumps("[" * 100 + '\\"{'), "it") == "[" * 100 + '\\"{'


@pytest.mark.parametrize("repeated", ['\\"', "[", "a", '""', "\\\\"])
def test_the_longest_string_without_an_end_is_refused_in_one_pass(repeated):
    with pytest.raises(ConfigError, match="it: no JSON: (Unterminated string|Expecting|Extra data)"):
        parse('"' + repeated * ((MOST_BYTES - 1) // len(repeated)), "it")


def test_a_name_as_long_as_a_file_is_compared_by_its_beginning():
    assert nearest("softmx" + "x" * 10**7, ["softmax"]) == "known: 'softmax'"
    assert nearest("a" * 10**7, ["a" * 300]) == f"did you mean {'a' * 300!r}?"


def test_a_regular_file_is_read_up_to_its_cap(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_small_file(path, 5) == read_small_file(str(path), 6) == b"12345"
    link = tmp_path / "link"
    link.symlink_to(path)
    assert read_small_file(link) == b"12345"
    with pytest.raises(FileError, match=r"/file: 5 bytes; 4 are the most"):
        read_small_file(path, 4)
    # Files of the kernel say that they hold nothing, and go on.
    with pytest.raises(FileError, match="/proc/self/maps: more than 10 bytes"):
        read_small_file("/proc/self/maps", 10)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for path in (tmp_path, tmp_path / "pipe", tmp_path / "socket", "/dev/zero", "/dev/tty", "/dev/stdin"):
            if Path(path).exists() and not Path(path).is_file():
                with pytest.raises(FileError, match=f"{path}: not a regular file"):
                    read_small_file(path)


def test_a_pipe_put_in_a_files_place_is_refused_without_waiting(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    status = os.stat(tmp_path / "file")
    monkeypatch.setattr(os, "stat", lambda path: status)
    with pytest.raises(FileError, match="pipe: not a regular file"):
        read_small_file(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        (3, ArgumentError, "a path is a string or a Path, got int: 3"),
        (b"x", ArgumentError, "got bytes"),
        (None, ArgumentError, "got NoneType"),
        ("/nowhere/at/all", FileError, "^/nowhere/at/all: No such file or directory$"),
        ("a" * 10**5, FileError, "File name too long"),
        ("a\0b", FileError, r"^'a\\x00b': embedded null"),
        ("", FileError, "No such file"),
    ],
)
def test_paths_that_lead_nowhere(path, error, message):
    with pytest.raises(error, match=message):
        read_small_file(path)
