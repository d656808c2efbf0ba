"""Which room may import which, and what `import penalize` loads."""

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import penalize

PACKAGE = Path(penalize.__file__).parent

# A room may use any room to its left. Keras's names for what torch has stand beside the regularizers.
ROOMS = [
    "errors",
    "arguments",
    "progress",
    "registry",
    "configs",
    "strict_json",
    "atomic",
    "masks",
    "logits",
    "ops",
    "activations",
    "initializers",
    "constraints",
    "losses",
    "metrics",
    "optimizers",
    "regularizers",
    "placement",
    "evaluation",
    "binding",
    "polishing",
    "layers",
    "config",
    "mixed_precision",
    "saving",
    "models",
    "compacting",
    "path",
    "cli",
    "__main__",
]


def room_of(path):
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def names_a_module(text):
    """Whether a string could be given to importlib; the name of a file format could not."""
    room = PACKAGE / text.split(".")[1]
    return text.replace(".", "").isidentifier() and (room.is_dir() or room.with_suffix(".py").is_file())


def rooms_imported(path):
    """The rooms that a file imports, anywhere in it."""
    tree = ast.parse(path.read_text())
    found = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module]
            if node.module == "penalize":
                names = [f"penalize.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("penalize."):
            names = [node.value] if names_a_module(node.value) else []
        for name in names:
            parts = name.split(".")
            if parts[0] == "penalize" and len(parts) > 1:
                found.append(parts[1])
    return found


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    room = room_of(path)
    for other in rooms_imported(path):
        if other == room or other == "__version__":
            continue
        assert other != "integrations", "nobody inside uses integrations"
        if room != "integrations":
            assert ROOMS.index(other) < ROOMS.index(room), f"{room} uses {other}, which stands to its right"


def test_every_file_is_found_and_says_what_it_is_for():
    assert len(FILES) > 40
    for path in FILES:
        text = path.read_text()
        assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
        assert len(text.splitlines()) <= 400, f"{path} is too long"


def test_import_penalize_loads_only_torch_numpy_and_array_api_compat():
    code = """
import sys
from importlib.metadata import version
import torch, numpy, array_api_compat
before = {name.split(".")[0] for name in sys.modules}
import penalize
after = {name.split(".")[0] for name in sys.modules}
print(*sorted(after - before - set(sys.stdlib_module_names)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["penalize"]


def test_every_public_name_is_there():
    for name in penalize.__all__:
        assert hasattr(penalize, name)
    with pytest.raises(AttributeError, match="module 'penalize' has no attribute 'nothing'"):
        penalize.nothing  # noqa: B018


def test_what_is_installed_is_what_constraints_say():
    lines = (Path(__file__).parent.parent / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    for name in ("torch", "numpy", "array-api-compat", "keras", "lightning", "scikit-learn", "typer"):
        # A build's own mark, such as "+cpu", is no part of the version that is pinned.
        assert version(name).split("+")[0] == pinned[name], f"{name}: the environment is not the tested one"


@pytest.mark.parametrize(
    "code",
    [
        "from penalize.saving import load_model; load_model({path!r})",
        "import penalize; penalize.layers.deserialize(penalize.strict_json.parse({text!r}, 'x'))",
        "from penalize.registry import register_serializable\n"
        "try: register_serializable('mine', 'Sequential')(type('Sequential', (), {{}}))\n"
        "except ValueError: pass\nelse: raise SystemExit(1)",
    ],
)
def test_a_file_finds_every_class_whatever_was_imported_before(code, tmp_path):
    model = penalize.Sequential([penalize.Input((2,)), penalize.layers.Dense(1)])
    model.save(tmp_path / "model.keras")
    code = code.format(path=str(tmp_path / "model.keras"), text=model.to_json())
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
