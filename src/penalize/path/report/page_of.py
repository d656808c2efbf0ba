"""The report of a path, or of several: one HTML file that a browser shows without asking anything from outside."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING

from penalize.path.report import page as html
from penalize.path.report import parts
from penalize.path.report.figure import inline_figure
from penalize.path.report.next_steps import attach_lines, finer_grid, rerun_command, rerun_lines

if TYPE_CHECKING:
    from penalize.path.comparison import PenaltyComparison
    from penalize.path.result import RegularizationPath

__all__ = ["comparison_report", "html_report"]


def html_report(path: RegularizationPath | PenaltyComparison, *, command: str | None = None) -> str:
    """An HTML page: both choices and what they mean, cautions, the picture, what to type next, the table, the settings.

    Of several penalties, also a table of them, and each one's own figures. `command` is the command line that made the
    path, if one did, by default `settings["command"]`. The page holds everything that it shows, and all texts in it are
    escaped. Raises DataError when no score is finite.

    >>> import numpy as np
    >>> from penalize.path import RegularizationPath
    >>> scores = np.array([[0.7, 0.8], [0.9, 0.8]])
    >>> path = RegularizationPath(np.array([0.01, 0.1]), scores, 1 - scores, 1 - scores, 0 * scores, "accuracy")
    >>> page = html_report(path, command="penalize path digits")
    >>> page.startswith("<!DOCTYPE html>"), "--strengths 0.01:10:8" in page
    (True, True)
    """
    if isinstance(path, Mapping):
        return comparison_report(path, command=command)
    command = path.settings.get("command") if command is None else command
    title = _title("Regularization path", path, ("data", "penalty", "on"))
    body = [
        f"<h1>{escape(title)}</h1>",
        html.paragraph(parts.extent(path), "soft"),
        parts.choices(path),
        *parts.cautions(path.cautions),
        html.section("The path", *parts.figures(path)),
        html.section("What to type next", *_next(path, path.best, path.best_1se, command)),
        html.section("Every strength", parts.strengths_table(path)),
        html.section("Settings", parts.settings_list(path.settings, command)),
    ]
    return html.page(title, body)


def comparison_report(comparison: PenaltyComparison, *, command: str | None = None) -> str:
    """The page of several penalties; see `html_report`."""
    name, strength = comparison.best
    other, strength_1se = comparison.best_1se
    best = comparison[name]
    command = best.settings.get("command") if command is None else command
    title = _title(f"{len(comparison)} regularization paths", best, ("data", "on"))
    of_all = {key: value for key, value in best.settings.items() if _same(comparison, key)}
    why_best = f"The mean validation {best.score_name} is highest here, over all penalties and strengths."
    why_1se = (
        "The most exact zeros whose score is within one standard error of the best of all: strengths of different "
        "penalties cannot be compared, zeros can."
    )
    body = [
        f"<h1>{escape(title)}</h1>",
        html.paragraph(f"each {parts.extent(best)}, on the same folds", "soft"),
        parts.cards(
            parts.card(best, strength, "Best penalty and strength", why_best, name=name),
            parts.card(comparison[other], strength_1se, "One-standard-error choice", why_1se, kind="one", name=other),
        ),
        *parts.cautions(comparison.cautions),
        html.section("The paths", inline_figure(comparison.plot, "scores and zeros of all penalties")),
        html.section("The penalties", _penalties(comparison)),
        html.section("What to type next", *_next(best, strength, best.best_1se, command, alone=name)),
    ]
    for number, (each, path) in enumerate(comparison.items(), 1):
        own = {key: value for key, value in path.settings.items() if key not in of_all}
        shown = [parts.strengths_table(path), parts.settings_list(own)]
        if _finite(path):
            shown = [parts.choices(path), *parts.figures(path, f"path{number}-"), *shown]
        body.append(html.section(each, *shown))
    body.append(html.section("Settings of all", parts.settings_list(of_all, command)))
    return html.page(title, body)


def _title(begins: str, path: RegularizationPath, keys: tuple[str, ...]) -> str:
    about = " · ".join(str(path.settings[key]) for key in keys if key in path.settings)
    return f"{begins}: {about}" if about else begins


def _same(comparison: PenaltyComparison, key: str) -> bool:
    values = [path.settings.get(key) for path in comparison.values()]
    return all(value == values[0] for value in values)


def _finite(path: RegularizationPath) -> bool:
    return any(map(math.isfinite, path.score))


def _penalties(comparison: PenaltyComparison) -> str:
    """A row a penalty: both of its choices, and what they reach."""
    score = comparison.score_name
    head = ["penalty", "best", score, "± se", "zeros", "1 se strength", score, "zeros"]
    rows: list[html.Row] = []
    for name, path in comparison.items():
        if not _finite(path):
            rows.append(("never", html.cells(name, "not finite", *[""] * 6)))
            continue
        best, one = (parts.row_of(path, strength) for strength in (path.best, path.best_1se))
        reached = (f"{best['score']:.4f}", f"{best['score_se']:.4f}", f"{best['zeros']:.1%}")
        simpler = (f"{path.best_1se:.4g}", f"{one['score']:.4f}", f"{one['zeros']:.1%}")
        kinds = [
            kind for kind, chosen in (("best", comparison.best), ("one", comparison.best_1se)) if chosen[0] == name
        ]
        rows.append((" ".join(kinds), html.cells(name, f"{path.best:.4g}", *reached, *simpler)))
    return html.table(head, rows, left=[0])


def _next(
    path: RegularizationPath, best: float, best_1se: float, command: str | None, alone: str | None = None
) -> Iterator[str]:
    """Lines to type; `alone` names the penalty where there were several."""
    settings = path.settings
    penalties = settings.get("penalties")
    if isinstance(penalties, Mapping) and penalties:
        yield html.paragraph("Put the penalty on your own model, at the best strength:")
        proximal = bool(settings.get("proximal", False))
        yield html.code(attach_lines(penalties, settings.get("outputs", ()), best, proximal))
        simpler = f" For the simpler model take {best_1se!r} instead." if best_1se != best else ""
        yield html.paragraph(
            "Names are those of the model of this path. The strength fits a mean loss over the batch and inputs scaled "
            f"as here; on other scales it is another one.{simpler}",
            "soft",
        )
    yield html.paragraph("Look closer around the best strength:")
    grid = finer_grid(path.strengths, best)
    mixing = settings.get("mixing")
    penalty = alone if alone is None or mixing is None else alone.removesuffix(f" (mixing {mixing:.6g})")
    again = None if command is None else rerun_command(command, grid, penalty, mixing)
    yield html.code(rerun_lines(grid) if again is None else again)
