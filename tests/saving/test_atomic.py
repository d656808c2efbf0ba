"""Writing a file whole or not at all."""

import os
import stat
import threading

import pytest

from penalize.errors import ExistingFileError, SavingError
from penalize.saving.atomic import replacing


def entries(directory):
    return sorted(path.name for path in directory.iterdir())


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_new_file_appears_when_the_block_ends(tmp_path, overwrite):
    path = tmp_path / "model.pt2"
    with replacing(str(path), overwrite=overwrite) as file:
        assert file.parent == tmp_path
        assert file.suffix == ".pt2"
        file.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert entries(tmp_path) == ["model.pt2"]


def test_permissions_are_those_of_a_new_file_or_of_the_one_replaced(tmp_path):
    path, other = tmp_path / "a.txt", tmp_path / "b.txt"
    other.write_text("ordinary")
    with replacing(path, overwrite=True) as file:
        file.write_text("first")
    assert mode_of(path) == mode_of(other)
    path.chmod(0o640)
    with replacing(path, overwrite=True) as file:
        file.write_text("second")
    assert (path.read_text(), mode_of(path)) == ("second", 0o640)


@pytest.mark.parametrize("error", [ValueError("stop"), KeyboardInterrupt("stop")])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error), match="stop"), replacing(path, overwrite=True) as file:
        file.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert entries(tmp_path) == ["a.txt"]


def test_an_existing_file_is_left_unless_it_may_be_replaced(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with (
        pytest.raises(ExistingFileError, match=r"a\.txt' exists: give overwrite=True"),
        replacing(path, overwrite=False),
    ):
        raise AssertionError("never reached")
    with pytest.raises(FileExistsError, match="exists"), replacing(path, overwrite=False):
        raise AssertionError("never reached")
    assert path.read_text() == "old"


def test_a_file_that_comes_in_between_is_left(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(ExistingFileError, match="exists"), replacing(path, overwrite=False) as file:
        file.write_text("ours")
        path.write_text("theirs")
    assert path.read_text() == "theirs"
    assert entries(tmp_path) == ["a.txt"]


def test_places_where_no_file_can_be(tmp_path):
    fifo = tmp_path / "pipe.pt2"
    os.mkfifo(fifo)
    (tmp_path / "file").write_text("")
    for path, message in [
        (tmp_path, "is a directory: give the path of a file"),
        (fifo, r"pipe\.pt2' is no ordinary file"),
        (tmp_path / "missing" / "a.pt2", "there is no directory .*missing"),
        (tmp_path / "file" / "a.pt2", r"a\.pt2' cannot be written"),
    ]:
        with pytest.raises(SavingError, match=message), replacing(path, overwrite=True):
            raise AssertionError("never reached")
    assert entries(tmp_path) == ["file", "pipe.pt2"]


def test_an_error_of_the_system_inside_names_the_path(tmp_path):
    with (
        pytest.raises(SavingError, match=r"a\.txt' cannot be written: No space"),
        replacing(tmp_path / "a.txt", overwrite=True),
    ):
        raise OSError(28, "No space left on device")
    assert entries(tmp_path) == []


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "a.txt", tmp_path / "link.txt"
    target.write_text("old")
    link.symlink_to(target)
    with replacing(link, overwrite=True) as file:
        file.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_writers_at_once_do_not_meet(tmp_path):
    path, inside = tmp_path / "a.txt", threading.Barrier(4)

    def write(text):
        with replacing(path, overwrite=True) as file:
            file.write_text(text)
            inside.wait()

    writers = [threading.Thread(target=write, args=(str(number) * 1000,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_text() in {str(number) * 1000 for number in range(4)}
    assert entries(tmp_path) == ["a.txt"]
