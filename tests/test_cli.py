"""The command: its files and table, and one line for each wrong input."""

import contextlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import penalize.path.data.sources as sources
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


def test_the_same_seed_gives_the_same_files_and_another_does_not(tmp_path, undrawn):
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
            "penalty must be one of l1, l2, l1_l2, group_lasso, sparse_group_lasso, linf, hoyer_square, nuclear_norm, spectral_norm, orthogonal_regularizer, decorrelation, got 'l3'",
        ),
        (
            ["path", "wine", "--on", "kernels"],
            "on must be one of kernel, bias, activity, features, or a pattern of weights, got 'kernels': did you mean",
        ),
        (["path", "wine", "--penalty", "orthogonal_regularizer", "--on", "bias"], "needs a matrix"),
        (["path", "wine", "--penalty", "nuclear_norm", "--on", "bias"], "penalty nuclear_norm needs a matrix"),
        (["path", "wine", "--penalty", "linf", "--on", "activity"], "penalty linf is of units"),
        (["path", "wine", "--penalty", "decorrelation"], "decorrelation is of outputs: it needs on activity"),
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
        (["path", "wine", "--seed", str(2**70)], f"seed must be below 2**32, got {2**70}"),
        (["path"], "data must be one of digits, breast-cancer, wine, diabetes, or a file that ends in .csv"),
        (["path", "nowhere.csv"], "there is no file 'nowhere.csv': there are none"),
        (["path", "wine", "--target", "class"], "target names a column of a table, but 'wine' has none"),
        (
            ["path", "wine", "--task", "sorting"],
            "task must be one of 'auto', 'classification', 'regression', got 'sorting'",
        ),
        (
            ["path", "wine", "--penalty", "l1", "--penalty", "l1"],
            "penalty must name each penalty once, got 'l1' 2 times",
        ),
        (["path", "wine", "--mixing", "0.5"], "mixing is of penalty l1_l2, but the penalty is l2"),
        (["path", "wine", "--penalty", "l1_l2", "--mixing", "half"], "mixing must be a number, got 'half'"),
        (["path", "wine", "--penalty", "l1_l2", "--mixing", "2"], "mixing must be a number between 0 and 1, got 2.0"),
        (["path", "wine", "--proximal", "--on", "activity"], "proximal=True needs a penalty of weights"),
        (["path", "wine", "--on", "9.weight"], "weights['9.weight'] matches no parameter of the model: did you mean"),
        (["path", "wine", "--optimizer", "adan"], "optimizer must be one of sgd, adam"),
        (
            ["path", "wine", "--loss", "huber"],
            "loss of classification must be one of 'auto', 'cross_entropy', got 'huber'",
        ),
        (["path", "wine", "--score", "r2"], "score of classification must be one of 'accuracy', 'balanced_accuracy'"),
        (["path", "wine", "--early-stopping", "0"], "early_stopping must be an integer >= 1, got 0"),
        (["path", "wine", "--memory", "little"], "memory must be a number, got 'little'"),
        (["path", "wine", "--memory", "0.5"], "memory must be at least"),
        (["path", "wine", "--chunk", "all"], "chunk must be an integer, got 'all'"),
        (["path", "wine", "--processes", "0"], "processes must be an integer >= 1, got 0"),
        (["path", "wine", "--backend", "roy"], "backend must be one of 'local', 'ray', got 'roy': did you mean 'ray'?"),
        (["path", "wine", "--address", "a:1"], "address is that of a cluster: it needs backend ray, got 'local'"),
        (["path", "wine", "--model", "nets"], "model must be package.module:factory, got 'nets'"),
        (["path", "wine", "--model", "no_nets:make"], "model: 'no_nets' cannot be imported: ModuleNotFoundError"),
        (["path", "wine", "--model", "penalize:layer"], "model: 'penalize' has no 'layer': did you mean 'Layer'"),
        (
            ["path", "wine", "--model", "penalize:layers"],
            "model must name a function that makes an nn.Module, got module",
        ),
        (["path", "wine", "--model", "builtins:dict"], "model must make an nn.Module, got dict"),
        (["path", "wine", "--model", "os:getlogin.x"], "model: 'os' has no 'getlogin.x'"),
        (["path", "wine", "--model", "operator:truediv"], "model must make an nn.Module, got float"),
        (["path", "wine", "--model", "operator:getitem"], "model: the function failed, called with 13, 3: TypeError"),
        (["path", "wine", "--model", "torch.nn:ReLU"], "model has no parameter to train"),
        (["path", "wine", "--model", "builtins:divmod", "--hidden", "x"], "hidden must be positive integers"),
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


@pytest.fixture
def undrawn(monkeypatch):
    """Leaves out pictures and reports, which take longer than the training."""
    import penalize.path.comparison as comparison
    import penalize.path.saved as saved

    for module in (saved, comparison):
        monkeypatch.setattr(module, "figure_bytes", lambda figure: b"picture")
        monkeypatch.setattr(module, "html_report", lambda path: "report")


@contextlib.contextmanager
def interrupted(count):
    """Inside, Ctrl-C comes when so many chunks are finished."""
    import penalize.path.backends.local as backends

    train, done = backends.train_chunk, []

    def train_chunk(*arguments):
        if len(done) == count:
            raise KeyboardInterrupt
        done.append(1)
        return train(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "train_chunk", train_chunk)
        yield


def test_a_write_that_fails_is_one_line_and_keeps_what_is_trained(tmp_path, undrawn, capsys, monkeypatch):
    import penalize.path.result as result

    def full(*args):
        raise OSError(28, "No space left on device", "path.csv")

    with monkeypatch.context() as patch:
        patch.setattr(result, "write_folder", full)
        assert main(["path", "wine", *QUICK, "--out", str(tmp_path / "a" / "b")]) == 2
    assert capsys.readouterr().err == "penalize: out could not be written: No space left on device: path.csv\n"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == [".chunks"]
    assert main(["path", "wine", *QUICK, "--out", str(tmp_path / "a" / "b"), "--resume"]) == 0
    assert ".chunks" not in [path.name for path in (tmp_path / "a" / "b").iterdir()]


def test_an_interrupt_before_anything_is_finished_leaves_nothing(tmp_path, capsys):
    with interrupted(0):
        assert main(["path", "wine", *QUICK, "--out", str(tmp_path / "out" / "deeper")]) == 130
    assert capsys.readouterr().err == "penalize: interrupted: nothing was written\n"
    assert list(tmp_path.iterdir()) == []


MANY = ["--chunk", "2", "--penalty", "l1", "--proximal"]


def same_but_for_times(one, other):
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    for name in names:
        texts = [(folder / name).read_bytes() for folder in (one, other)]
        if name in ("path.json", "report.html"):
            texts = [
                re.sub(rb"seconds[^\d]{1,30}[\d.]+", b"", text).replace(b"--out two", b"--out one") for text in texts
            ]
        assert texts[0] == texts[1], name


@pytest.mark.parametrize("more", [MANY, [*MANY, "--penalty", "l2", "--chunk", "3"]])
def test_an_interrupt_keeps_what_is_finished_and_resume_goes_on(more, tmp_path, capsys, monkeypatch, undrawn):
    monkeypatch.chdir(tmp_path)
    assert main(["path", "wine", *QUICK, *more, "--out", "one"]) == 0
    capsys.readouterr()
    with interrupted(4):
        assert main(["path", "wine", *QUICK, *more, "--out", "two"]) == 130
    command = shlex.join(["penalize", "path", "wine", *QUICK, *more, "--out", "two"])
    assert capsys.readouterr().err == (
        f"penalize: interrupted: two/.chunks keeps 4 finished chunks; go on by: {command} --resume\n"
    )
    assert [path.name for path in Path("two").iterdir()] == [".chunks"]

    assert main(["path", "wine", *QUICK, *more, "--out", "two"]) == 2
    assert capsys.readouterr().err == (
        "penalize: out holds 4 finished chunks of a run that was interrupted: add --resume to go on from there, or "
        "remove two/.chunks to begin anew\n"
    )
    assert main(["path", "wine", *QUICK, *more, "--out", "two", "--seed", "5", "--resume"]) == 2
    printed = capsys.readouterr().err
    assert "holds finished chunks of another path" in printed
    assert printed.count("\n") == 1

    assert main([*shlex.split(command)[1:], "--resume"]) == 0
    if "l2" in more:
        same_but_for_times(Path("one/penalty-2"), Path("two/penalty-2"))
        assert Path("one/comparison.csv").read_bytes() == Path("two/comparison.csv").read_bytes()
    else:
        same_but_for_times(Path("one"), Path("two"))


def test_a_path_without_finite_scores_is_one_line_and_leaves_nothing(tmp_path, capsys):
    assert main(["path", "wine", *QUICK, "--learning-rate", "1e30", "--out", str(tmp_path / "out")]) == 2
    assert "no strength gave a finite score" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_penalties_are_compared(tmp_path, undrawn, capsys):
    arguments = ["--penalty", "l1", "--penalty", "orthogonal_regularizer", "--penalty", "l1_l2", "--mixing", "0.2,0.8"]
    assert main(["path", "wine", *QUICK, *arguments, "--proximal", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    for name in ("l1", "orthogonal_regularizer", "l1_l2 (mixing 0.2)", "l1_l2 (mixing 0.8)"):
        assert name in printed.out
    compared = pd.read_csv(tmp_path / "comparison.csv")
    assert list(compared["penalty"].unique()) == [
        "l1",
        "orthogonal_regularizer",
        "l1_l2 (mixing 0.2)",
        "l1_l2 (mixing 0.8)",
    ]
    assert (tmp_path / "report.html").is_file()
    settings = [json.loads((tmp_path / f"penalty-{n}" / "path.json").read_text())["settings"] for n in (1, 2)]
    assert [each["proximal"] for each in settings] == [True, False]


MODEL = """
from torch import nn

class Net(nn.Module):
    def __init__(self, features, outputs):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(features, 8), nn.Tanh())
        self.head = nn.Linear(8, outputs)

    def forward(self, x):
        return self.head(self.body(x))

class Branching(Net):
    def forward(self, x):
        return super().forward(x) if x.sum() > -1e9 else x
"""


@pytest.mark.parametrize(
    ("more", "penalized"),
    [
        (
            ["--on", "features", "--penalty", "group_lasso", "--proximal"],
            {"body.0.weight": "GroupLasso(strength=1.0, axis=1"},
        ),
        (["--on", "head.*", "--penalty", "l1"], {"head.weight": "L1(l1=1.0", "head.bias": "L1(l1=1.0"}),
        (["--on", "activity"], {"body.1": "L2(l2=1.0"}),
        ([], {"body.0.weight": "L2(l2=1.0", "head.weight": "L2(l2=1.0"}),
    ],
)
def test_a_model_of_the_user(more, penalized, tmp_path, undrawn, monkeypatch):
    (tmp_path / "own_nets.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_nets", raising=False)
    arguments = ["--target", "kind", "--model", "own_nets:Net", "--early-stopping", "2", "--refit"]
    table = pd.DataFrame({"a": range(40), "b": ["x", "y", "z", "z"] * 10, "kind": ["p", "q"] * 20})
    table.to_csv("table.csv", index=False)
    assert main(["path", "table.csv", *QUICK, *arguments, *more]) == 0
    settings = json.loads(Path("penalize-path/path.json").read_text())["settings"]
    assert settings["penalties"].keys() == penalized.keys()
    assert all(settings["penalties"][name].startswith(begin) for name, begin in penalized.items())
    assert settings["feature_names"] == ["a", "b=x", "b=y", "b=z"]
    assert settings["model"] == "own_nets:Net"
    assert Path("penalize-path/path.safetensors").is_file()


def test_a_model_that_cannot_be_stacked_says_so_in_one_line(tmp_path, undrawn, monkeypatch, capsys):
    (tmp_path / "own_nets.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_nets", raising=False)
    assert main(["path", "wine", *QUICK, "--model", "own_nets:Branching", "--processes", "1"]) == 0
    printed = capsys.readouterr().err
    assert printed.startswith("penalize: this model cannot be trained in a stack")
    assert printed.count("\n") == 1


def test_resume_of_nothing_begins(tmp_path, undrawn):
    assert main(["path", "wine", *QUICK, "--out", str(tmp_path), "--resume"]) == 0


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


def test_the_columns_of_a_table_are_read_once(tmp_path, monkeypatch, undrawn):
    read, columns = [], sources.read_columns
    monkeypatch.setattr(sources, "read_columns", lambda table: read.append(len(table)) or columns(table))
    frame = pd.DataFrame({"a": np.arange(30.0), "b": ["x", "y", "z"] * 10, "target": ["no", "yes"] * 15})
    frame.to_csv(tmp_path / "some.csv", index=False)
    command = ["path", str(tmp_path / "some.csv"), *QUICK, "--penalty", "l1", "--penalty", "l2", "--refit"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert read == [30]
    settings = json.loads((tmp_path / "out" / "penalty-2" / "path.json").read_text())["settings"]
    assert settings["feature_names"] == ["a", "b=x", "b=y", "b=z"]
