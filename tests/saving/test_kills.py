"""Saves that do not come to their end: by SIGKILL, by an error of the writer, on a full disk."""

import json
import multiprocessing
import resource
import signal
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch

from penalize.atomic import replacing
from penalize.errors import NotBuiltError
from penalize.saving import weights_h5
from tests.saving import kills


def test_a_killed_save_leaves_the_old_file_or_the_new_one(tmp_path):
    found, _ = kills.rounds(len(kills.NAMES), seed=1, folder=tmp_path)
    for name, counts in found.items():
        assert counts["rounds"] == 1, name
        for what in (
            "broken",
            "files left that are not hidden temporary ones",
            "next saves that did not work",
            "next saves that touched what was left",
        ):
            assert counts[what] == 0, (name, what)


def break_off(monkeypatch, name):
    """Make the writer of this kind of file raise when a part is written."""

    def failing(*_, **__):
        raise ZeroDivisionError("in the middle")

    def half(_, path, **__):
        Path(path).write_bytes(b"half")
        failing()

    if name == "model.safetensors":
        monkeypatch.setattr(safetensors.torch, "save_file", half)
    elif name == "model.pt":
        monkeypatch.setattr(torch, "save", lambda _, file: file.write(b"half") and failing())
    elif name == "plan.json":
        monkeypatch.setattr(Path, "write_bytes", failing)
    elif name == "model.keras":
        monkeypatch.setattr(zipfile.ZipFile, "_write_end_record", failing)
    else:
        write, written = weights_h5._write, []

        def third(handle, path, tensor):
            written.append(path)
            write(handle, path, tensor) if len(written) < 3 else failing()

        monkeypatch.setattr(weights_h5, "_write", third)


@pytest.mark.parametrize("name", kills.NAMES)
def test_an_error_in_the_middle_leaves_the_old_file_byte_for_byte(tmp_path, monkeypatch, name):
    path = tmp_path / name
    kills.save(kills.subject(name, 0), path)
    before = path.read_bytes()
    with monkeypatch.context() as patched:
        break_off(patched, name)
        with pytest.raises(ZeroDivisionError, match="in the middle"):
            kills.save(kills.subject(name, 1), path)
    assert (path.read_bytes() == before, list(tmp_path.iterdir())) == (True, [path])
    kills.save(kills.subject(name, 1), path)
    assert kills.state_of(path) == 1


def save_with_little_room(path, room, report):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    told = []
    try:
        kills.save(kills.subject(path.name, 1), path)
    except Exception as error:
        told = [type(error).__name__, str(error)]
    report.send_bytes(json.dumps(told).encode())


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("name", kills.NAMES)
def test_a_full_disk_leaves_the_old_file_byte_for_byte(tmp_path, name, part):
    path = tmp_path / name
    kills.save(kills.subject(name, 0), path)
    before = path.read_bytes()
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(kills.PRELOADED)
    receiver, sender = processes.Pipe(duplex=False)
    child = processes.Process(target=save_with_little_room, args=(path, int(part * len(before)), sender))
    child.start()
    sender.close()
    told = json.loads(receiver.recv_bytes())
    receiver.close()
    child.join()
    assert child.exitcode == 0
    assert told[0] == "FileError"
    assert "File too large" in told[1]
    assert (path.read_bytes() == before, list(tmp_path.iterdir())) == (True, [path])


def test_a_saved_state_dict_is_the_same_file_each_time(tmp_path):
    for name in ("one.pt", "two.pt"):
        kills.subject("model.pt", 0).save_weights(tmp_path / name)
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()


def test_an_error_of_the_writer_that_is_none_of_the_disk_stays_what_it_is(tmp_path):
    for error in (RuntimeError("of torch"), NotBuiltError("of penalize")):
        try:
            raise OSError(28, "handled before")
        except OSError:
            with pytest.raises(type(error), match=f"^{error}$"), replacing(tmp_path / "file", overwrite=True):
                raise error  # noqa: B904  its context is what is tested
