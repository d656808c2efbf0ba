"""The command: its files and table, and one line for each wrong input."""

import json
import subprocess
import sys

import pandas as pd
import pytest

from penalize.__main__ import main

QUICK = ["--strengths", "1e-4:1:3", "--folds", "3", "--epochs", "2", "--hidden", "8"]


@pytest.mark.parametrize(
    ("data", "more"),
    [
        ("wine", ["--penalty", "l1_l2"]),
        ("wine", ["--penalty", "group_lasso", "--proximal"]),
        ("breast-cancer", ["--on", "activity", "--penalty", "l1"]),
        ("diabetes", ["--on", "bias"]),
        ("wine", ["--penalty", "orthogonal_regularizer"]),
    ],
)
def test_a_path_prints_a_table_and_writes_its_files(data, more, tmp_path, capsys):
    out = tmp_path / "new" / "folder"
    assert main(["path", data, *QUICK, *more, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "best strength:" in printed.out
    assert "one-standard-error strength:" in printed.out
    assert str(out / "path.png") in printed.out.replace("\n", "")
    assert sorted(p.name for p in out.iterdir()) == ["path.csv", "path.json", "path.png", "report.html"]
    assert len(pd.read_csv(out / "path.csv")) == 3
    settings = json.loads((out / "path.json").read_text())["settings"]
    assert settings["data"] == data
    assert settings["hidden"] == [8]


def test_the_same_seed_gives_the_same_files_and_another_does_not(tmp_path):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert main(["path", "wine", *QUICK, "--seed", seed, "--out", str(tmp_path / name)]) == 0
    files = [(tmp_path / name / "path.csv").read_bytes() for name in "abc"]
    assert files[0] == files[1] != files[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["path", "digit"],
            ".tsv.gz, .parquet, .npz, got 'digit': did you mean 'digits'?",
        ),
        (
            ["path", "wine", "--penalty", "l3"],
            "penalty must be one of l1, l2, l1_l2, group_lasso, sparse_group_lasso, hoyer_square, orthogonal_regularizer, got 'l3'",
        ),
        (
            ["path", "wine", "--on", "kernels"],
            "on must be one of kernel, bias, activity, features, or a pattern of weights, got 'kernels': did you mean",
        ),
        (["path", "wine", "--penalty", "orthogonal_regularizer", "--on", "bias"], "needs a matrix"),
        (["path", "wine", "--on", "activity", "--hidden", ""], "on activity needs at least one hidden layer"),
        (["path", "wine", "--strengths", "0:1:3"], "strengths must be low:high:count"),
        (["path", "wine", "--strengths", "-1:1:3"], "strengths must be low:high:count"),
        (["path", "wine", "--strengths", "1:0.1:3"], "strengths must be low:high:count"),
        (["path", "wine", "--strengths", "nan:1:3"], "strengths must be low:high:count"),
        (["path", "wine", "--strengths", "1e-3:1:0"], "strengths must be low:high:count"),
        (
            ["path", "wine", "--folds", "1"],
            "folds must be an integer from 2 to 48, the size of the smallest class, got 1",
        ),
        (
            ["path", "wine", "--folds", "49"],
            "folds must be an integer from 2 to 48, the size of the smallest class, got 49",
        ),
        (["path", "diabetes", "--folds", "222"], "folds must be an integer from 2 to 221, half the number of rows"),
        (["path", "wine", "--folds", "x"], "folds must be an integer, got 'x'"),
        (["path", "wine", "--learning-rate", "fast"], "learning_rate must be a number, got 'fast'"),
        (["path", "wine", "--hidden", "8,0"], "hidden must be positive integers with commas between"),
        (["path", "wine", "--hidden", "8,a"], "hidden must be positive integers with commas between"),
        (["path", "wine", "--epochs", "0"], "epochs must be an integer >= 1, got 0"),
        (["path", "wine", "--batch-size", "-1"], "batch_size must be an integer >= 1, got -1"),
        (["path", "wine", "--learning-rate", "0"], "learning_rate must be a number > 0, got 0"),
        (["path", "wine", "--seed", "-1"], "seed must be an integer >= 0, got -1"),
        (["path"], "data must be one of digits, breast-cancer, wine, diabetes, or a file that ends in .csv"),
        (["path", "wine", "--nothing", "1"], "No such option: --nothing"),
        (["paths"], "No such command 'paths'"),
        ([], "Missing command"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert list(tmp_path.iterdir()) == []


def test_folders_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder" / "path.csv").mkdir(parents=True)
    for out, message in (
        (tmp_path / "file", "out must be a folder that can be written"),
        (tmp_path / "file" / "below", "out must be a folder that can be written"),
        (tmp_path / "folder", "is a folder"),
    ):
        assert main(["path", "wine", *QUICK, "--out", str(out)]) == 2
        printed = capsys.readouterr().err
        assert message in printed
        assert printed.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_a_write_that_fails_is_one_line_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    import penalize.path.files as files

    def full(*args):
        raise OSError(28, "No space left on device", "path.csv")

    monkeypatch.setattr(files.os, "replace", full)
    assert main(["path", "wine", *QUICK, "--out", str(tmp_path / "a" / "b")]) == 2
    assert capsys.readouterr().err == "penalize: out could not be written: No space left on device: path.csv\n"
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_is_one_line_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    import penalize.path.run as run

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "train_stack", interrupted)
    assert main(["path", "wine", *QUICK, "--out", str(tmp_path / "out" / "deeper")]) == 130
    assert capsys.readouterr().err == "penalize: interrupted: nothing was written\n"
    assert list(tmp_path.iterdir()) == []


def test_help_and_version(capsys):
    assert main(["path", "--help"]) == 0
    assert "low:high:count" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "0.1.0\n"


def test_a_missing_library_names_the_extra():
    code = (
        "import sys; sys.modules['typer'] = None\nfrom penalize.__main__ import main\nsys.exit(main(['path', 'wine']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == 'penalize: typer is not installed: pip install "penalize[path]"\n'


def test_the_installed_script_refuses_without_a_traceback(tmp_path):
    script = f"{sys.prefix}/bin/penalize"
    done = subprocess.run([script, "path", "nope"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("penalize: data must be one of")
    assert done.stderr.count("\n") == 1
