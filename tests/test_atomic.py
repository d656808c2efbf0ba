"""Files that are written whole or not at all: what stood there before survives every failure."""

import os

import pytest

from penalize.atomic import replacing
from penalize.errors import ArgumentError, FileError


def write(path, text, overwrite=False):
    with replacing(path, overwrite=overwrite) as beside:
        beside.write_text(text)


def test_a_new_file_and_one_in_its_place(tmp_path):
    path = tmp_path / "file"
    write(path, "one")
    with pytest.raises(FileError, match="/file: exists already; pass overwrite=True to replace it"):
        write(path, "two")
    assert path.read_text() == "one"
    path.chmod(0o640)
    write(str(path), "two", overwrite=True)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("two", 0o640)
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    write(tmp_path / "file", "one")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, OSError])
def test_after_an_error_inside_everything_is_as_it_was(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("one")
    for place in (path, tmp_path / "other"):
        with pytest.raises(error, match="inside"), replacing(place, overwrite=True) as beside:
            beside.write_text("tw")
            raise error("inside")
    assert (path.read_text(), list(tmp_path.iterdir())) == ("one", [path])


def test_when_the_end_fails_everything_is_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("one")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="/file: No space left on device"):
        write(path, "two", overwrite=True)
    assert (path.read_text(), list(tmp_path.iterdir())) == ("one", [path])


def test_what_came_in_the_meantime_stays(tmp_path, monkeypatch):
    path = tmp_path / "file"
    for links in (True, False):
        if not links:
            monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(1, "no links here")))
        with pytest.raises(FileError, match="/file: exists already"), replacing(path, overwrite=False) as beside:
            beside.write_text("two")
            path.write_text("one")
        assert (path.read_text(), list(tmp_path.iterdir())) == ("one", [path])
        path.unlink()
    write(path, "three")
    assert path.read_text() == "three"


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real").write_text("one")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link", "two", overwrite=True)
    assert ((tmp_path / "link").is_symlink(), (tmp_path / "real").read_text()) == (True, "two")


def test_places_that_take_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "/dev/null"):
        with pytest.raises(FileError, match=f"{path}: not a regular file"):
            write(path, "", overwrite=True)
    with pytest.raises(FileError, match="nowhere/file: No such file or directory"):
        write(tmp_path / "nowhere" / "file", "")
    with pytest.raises(FileError, match=r"^'a\\x00b': "):
        write("a\0b", "")
    with pytest.raises(ArgumentError, match="a path is a string or a Path, got int: 1"):
        write(1, "")
