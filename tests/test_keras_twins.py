"""Each of the five programs is a Keras program: with its imports changed back it runs under installed Keras."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))

# What Keras 3.15.1 itself warns about: a layer with input_dim, and its own variables when NumPy reads them.
KERAS_WARNS = (
    "ignore:Do not pass an `input_shape`:UserWarning",
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning",
)


def twin_of(text):
    """The program with nothing but the names of the package in its import lines changed."""
    lines = text.splitlines(keepends=True)
    changed = [
        re.sub(r"\bpenalize\b", "keras", line).replace("import keras as keras", "import keras")
        if re.match(r"(import|from) penalize", line)
        else line
        for line in lines
    ]
    assert sum(a != b for a, b in zip(lines, changed, strict=True)) == len(
        re.findall("^(?:import|from) penalize", text, re.M)
    )
    return "".join(changed)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_twin_runs_under_keras(path, tmp_path):
    twin = tmp_path / path.name
    twin.write_text(twin_of(path.read_text()))
    assert "penalize" not in re.sub(r'"""[\s\S]*?"""|#.*', "", twin.read_text())
    environment = {**os.environ, "KERAS_BACKEND": "torch", "PYTHONWARNINGS": ",".join(("error", *KERAS_WARNS))}
    done = subprocess.run(
        [sys.executable, str(twin)], capture_output=True, text=True, check=False, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
