"""The report of a path: one HTML file that a browser shows without asking anything from outside."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from penalize.path import report_page as html
from penalize.path.report_figure import inline_figure
from penalize.path.report_next import attach_lines, finer_grid, rerun_command, rerun_lines

if TYPE_CHECKING:
    from penalize.path.result import RegularizationPath

__all__ = ["html_report"]

COLUMNS = ("score", "score_se", "val_loss", "train_loss")


def html_report(path: RegularizationPath, *, command: str | None = None) -> str:
    """An HTML page: both choices and what they mean, cautions, the picture, what to type next, the table, the settings.

    `command` is the command line that made the path, if one did, by default `settings["command"]`. The page holds
    everything that it shows, and all texts in it are escaped.

    >>> import numpy as np
    >>> from penalize.path import RegularizationPath
    >>> scores = np.array([[0.7, 0.8], [0.9, 0.8]])
    >>> path = RegularizationPath(np.array([0.01, 0.1]), scores, 1 - scores, 1 - scores, 0 * scores, "accuracy")
    >>> page = html_report(path, command="penalize path digits")
    >>> page.startswith("<!DOCTYPE html>"), "--strengths 0.01:10:8" in page
    (True, True)
    """
    command = path.settings.get("command") if command is None else command
    title = "Regularization path"
    about = " · ".join(str(path.settings[key]) for key in ("data", "penalty", "on") if key in path.settings)
    body = [
        f"<h1>{escape(f'{title}: {about}' if about else title)}</h1>",
        html.paragraph(_extent(path), "soft"),
        _choices(path),
        *_cautions(path),
        html.section("The path", inline_figure(path.plot, _label(path)), html.paragraph(_legend(path), "soft")),
        html.section("What to type next", *_next(path, command)),
        html.section("Every strength", _table(path)),
        html.section("Settings", html.definitions(_settings(path.settings, command))),
    ]
    return html.page(f"{title}: {about}" if about else title, body)


def _extent(path: RegularizationPath) -> str:
    strengths, folds = path.fold_scores.shape
    parts = [f"{strengths} strengths x {folds} folds"]
    if "epochs" in path.settings:
        parts.append(f"{path.settings['epochs']} epochs")
    if "rows" in path.settings:
        parts.append(f"{path.settings['rows']} rows")
    return ", ".join(parts)


def _choices(path: RegularizationPath) -> str:
    rows = {row["strength"]: row for row in path.to_frame().to_dict("records")}
    best, one = rows[path.best], rows[path.best_1se]
    name, folds = path.score_name, path.fold_scores.shape[1]
    why_best = f"The mean validation {name} over {folds} folds is highest here."
    if path.best == path.best_1se:
        why_one = "No stronger penalty comes within one standard error of the best: both choices are the same."
    else:
        why_one = (
            f"The strongest penalty whose mean {name} is within one standard error ({best['score_se']:.4f}) of "
            "the best: take it where a simpler model is worth a difference that the folds cannot tell from chance."
        )
    cards = [
        _card("", "Best strength", path.best, best, name, why_best),
        _card(" one", "One-standard-error strength", path.best_1se, one, name, why_one),
    ]
    return '<div class="cards">\n' + "\n".join(cards) + "\n</div>"


def _card(kind: str, title: str, strength: float, row: Mapping[Any, float], name: str, why: str) -> str:
    figures = f"{name} {row['score']:.4f} ± {row['score_se']:.4f}, {row['zeros']:.1%} exact zeros"
    return (
        f'<div class="card{kind}">\n<h2>{escape(title)}</h2>\n{html.paragraph(f"{strength:.6g}", "number")}\n'
        f"{html.paragraph(figures)}\n{html.paragraph(why, 'soft')}\n</div>"
    )


def _cautions(path: RegularizationPath) -> list[str]:
    return [html.paragraph(f"Caution: {sentence}", "caution") for sentence in path.cautions]


def _label(path: RegularizationPath) -> str:
    return escape(f"{path.score_name} and share of exact zeros against strength; the same figures are in the table")


def _legend(path: RegularizationPath) -> str:
    steps = "" if path.settings.get("proximal") else " Gradient steps make no weight exactly zero."
    return f"Above: validation {path.score_name}, mean over folds; below: share of exact zeros.{steps}"


def _next(path: RegularizationPath, command: str | None) -> Iterator[str]:
    settings = path.settings
    if settings.get("penalties"):
        yield html.paragraph("Put the penalty on your own model, at the best strength:")
        yield html.code(
            attach_lines(
                settings["penalties"], settings.get("outputs", ()), path.best, bool(settings.get("proximal", False))
            )
        )
        yield html.paragraph(
            "Names are those of the model of this path. The strength fits a mean loss over the batch and inputs scaled "
            "as here; on other scales it is another one."
            + (f" For the simpler model take {path.best_1se!r} instead." if path.best_1se != path.best else ""),
            "soft",
        )
    yield html.paragraph("Look closer around the best strength:")
    grid = finer_grid(path.strengths, path.best)
    again = None if command is None else rerun_command(command, grid)
    yield html.code(rerun_lines(grid) if again is None else again)


def _table(path: RegularizationPath) -> str:
    head = ["", "strength", path.score_name, "± se", "zeros", "val loss", "train loss"]
    rows: list[html.Row] = []
    for row in path.to_frame().to_dict("records"):
        strength = row["strength"]
        kinds = [kind for kind, value in (("best", path.best), ("one", path.best_1se)) if value == strength]
        marks = [{"best": "best", "one": "1 se"}[kind] for kind in kinds]
        if math.isnan(row["score"]):
            kinds, marks = ["never"], ["not finite"]
        score, error, validation, training = (f"{row[name]:.4f}" for name in COLUMNS)
        shown = (", ".join(marks), f"{strength:.4g}", score, error, f"{row['zeros']:.1%}", validation, training)
        rows.append((" ".join(kinds), html.cells(*shown)))
    note = "Losses are those of the data, without the penalty. Strengths whose score is not finite are never chosen."
    return html.table(head, rows, left=[0]) + html.paragraph(note, "soft")


def _settings(settings: Mapping[str, Any], command: str | None) -> Iterator[tuple[str, str]]:
    if command is not None:
        yield "command", command
    for name, value in settings.items():
        if name != "command":
            yield name.replace("_", " "), _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {_shown(own)}" for name, own in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.10g}" if isinstance(value, float) else str(value)
