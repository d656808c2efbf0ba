"""A path that is killed once and goes on ends with the same files; many kills: `tests.path.kill_and_resume`."""

import time

from tests.path.kill_and_resume import files, kept, kill

from penalize.__main__ import main

COMMAND = ("path", "wine", "--strengths", "1e-3:1:8", "--folds", "5", "--epochs", "40", "--chunk", "2", "--out", "out")


def test_a_killed_path_goes_on_to_the_same_files(tmp_path, monkeypatch):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path / "whole")
        assert main(list(COMMAND)) == 0

    def moment(process):
        while not kept(tmp_path / "killed") and process.poll() is None:
            time.sleep(0.01)

    chunks = kill(tmp_path / "killed", COMMAND, moment)
    assert chunks is not None
    assert 0 < chunks < 20
    expected = files(tmp_path / "whole")
    assert expected.keys() == {f"out/{name}" for name in ("path.csv", "path.json", "path.png", "report.html")}
    assert files(tmp_path / "killed") == expected
