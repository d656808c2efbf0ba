"""What to type after a path: the chosen penalty on one's own model, and a finer grid around the best strength."""

from __future__ import annotations

import ast
import copy
import shlex
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from penalize import regularizers
from penalize.regularizers import Regularizer
from penalize.regularizers.strength import strength_attributes, strength_number

__all__ = ["attach_lines", "finer_grid", "rerun_command", "rerun_lines"]

# As many steps of the old grid to both sides, or a factor where it ends.
STEPS, BEYOND, FEWEST = 2, 100.0, 8


def attach_lines(
    penalties: Mapping[str, str], outputs: Sequence[str], strength: float, proximal: bool, model: str = "model"
) -> str:
    """Python lines that put the penalties of a path, at one strength, on a model of the same names.

    `penalties` are the settings of a path: names of targets, and the repr of each one's regularizer; `outputs` are
    those of the names that are of outputs.

    >>> print(attach_lines({"0.weight": "L1(l1=1.0)"}, [], 0.01, proximal=False))
    import penalize
    from penalize.regularizers import L1
    <BLANKLINE>
    penalties = penalize.attach(
        model,
        weights={
            "0.weight": L1(l1=0.01),
        },
    )
    <BLANKLINE>
    # at each step of the training
    loss = criterion(model(x), y) + penalties.loss()
    """
    penalties = {str(name): str(text) for name, text in penalties.items()}
    scaled = {name: _scaled(text, strength) for name, text in penalties.items()}
    known = sorted({text.partition("(")[0] for text in scaled.values() if text is not None})
    lines = ["import penalize", *([f"from penalize.regularizers import {', '.join(known)}"] if known else []), ""]
    unknown = dict.fromkeys(penalties[name] for name, text in scaled.items() if text is None)
    lines += [f"# my_penalty stands for your own {_one_line(text)}" for text in unknown]
    lines += ["penalties = penalize.attach(", f"    {model},"]
    for argument, chosen in (
        ("weights", [name for name in scaled if name not in outputs]),
        ("activity", [name for name in scaled if name in outputs]),
    ):
        if chosen:
            own = f"lambda x: {strength!r} * my_penalty(x)"
            rules = [f"        {_quoted(name)}: {own if scaled[name] is None else scaled[name]}," for name in chosen]
            lines += [f"    {argument}={{", *rules, "    },"]
    lines += [")"]
    if proximal:
        lines += ["penalties.bind(optimizer, proximal=True)  # exact zeros, at each optimizer.step()"]
    lines += ["", "# at each step of the training", f"loss = criterion({model}(x), y) + penalties.loss()"]
    return "\n".join(lines)


def finer_grid(strengths: np.ndarray, best: float) -> str:
    """A grid around the best strength, as many strengths between its neighbours; further on where the grid ends.

    >>> finer_grid(np.array([1e-4, 1e-3, 1e-2, 1e-1, 1.0]), 1e-2)
    '0.0001:1:8'
    >>> finer_grid(np.array([1e-4, 1e-3, 1e-2, 1e-1, 1.0]), 1.0)
    '0.01:100:8'
    """
    place, last = int(np.argmin(np.abs(strengths - best))), len(strengths) - 1
    low = strengths[max(place - STEPS, 0)] if place > 0 else best / BEYOND
    high = strengths[min(place + STEPS, last)] if place < last else best * BEYOND
    return f"{low:.4g}:{high:.4g}:{max(len(strengths), FEWEST)}"


def rerun_command(command: str, grid: str, penalty: str | None = None, mixing: float | None = None) -> str | None:
    """The command with another grid and another folder, of one penalty, and share of L1, alone where one is named.

    None for a text that is no command of a shell.

    >>> rerun_command("penalize path digits --strengths 1e-6:1:24", "0.001:0.01:24")
    'penalize path digits --strengths 0.001:0.01:24 --out penalize-path-finer'
    >>> rerun_command("penalize path 'my data.csv' --resume --out=here", "1:2:8")
    "penalize path 'my data.csv' --strengths 1:2:8 --out here-finer"
    """
    out, kept = "penalize-path", []
    try:
        words = iter(shlex.split(command))
    except ValueError:
        return None
    for word in words:
        option, _, value = word.partition("=")
        if option == "--resume":
            continue
        if option in ("--strengths", "--out") or (option in ("--penalty", "--mixing") and penalty is not None):
            value = value or next(words, "")
            out = value.rstrip("/") or out if option == "--out" else out
        else:
            kept.append(word)
    chosen = [] if penalty is None else ["--penalty", penalty]
    chosen += [] if mixing is None else ["--mixing", repr(mixing)]
    return shlex.join([*kept, *chosen, "--strengths", grid, "--out", f"{out}-finer"])


def rerun_lines(grid: str) -> str:
    """The same for Python: what to change in the call.

    >>> print(rerun_lines("0.001:0.01:8"))
    strengths = numpy.geomspace(0.001, 0.01, 8)
    path = penalize.path.regularization_path(model, x, y, ..., strengths=strengths)
    """
    low, high, count = grid.split(":")
    return (
        f"strengths = numpy.geomspace({low}, {high}, {count})\n"
        "path = penalize.path.regularization_path(model, x, y, ..., strengths=strengths)"
    )


def _scaled(text: str, strength: float) -> str | None:
    """The repr of a regularizer of this package `strength` times as strong; None where there is none."""
    base = _parsed(text)
    if base is None:
        return None
    scaled = copy.copy(base)
    for name in strength_attributes(type(base)):
        setattr(scaled, name, strength_number(getattr(base, name)) * strength)
    return repr(scaled) if _is_multiple(scaled, base, strength) else None


def _parsed(text: str) -> Regularizer | None:
    try:
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            return None
        cls = getattr(regularizers, call.func.id) if call.func.id in regularizers.__all__ else None
        if not (isinstance(cls, type) and issubclass(cls, Regularizer)):
            return None
        made: Regularizer = cls(**{str(word.arg): ast.literal_eval(word.value) for word in call.keywords})
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None  # it may come from a file that somebody else wrote
    return made


def _is_multiple(scaled: Regularizer, base: Regularizer, strength: float) -> bool:
    """Whether the penalty is `strength` times the other's: that of MCP and SCAD is not, whose shape changes, too."""
    x = torch.linspace(-2.0, 3.0, 12, dtype=torch.float64).reshape(3, 4)
    first = torch.zeros_like(x)
    try:
        value, other = float(scaled.placed_on(first)(x)), float(base.placed_on(first)(x))
    except (ValueError, TypeError, RuntimeError):
        return True  # groups or shapes that this example has not
    return abs(value - strength * other) <= 1e-6 * abs(strength * other)


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"' if name.isprintable() else repr(name)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:80]
