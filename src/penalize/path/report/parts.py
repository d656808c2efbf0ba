"""The parts of a report that belong to one path: its choices, its figures, its table, its settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from penalize.errors import PenalizeError
from penalize.path.report import page as html
from penalize.path.report.figure import inline_figure

if TYPE_CHECKING:
    from penalize.path.result import RegularizationPath

__all__ = ["card", "cards", "cautions", "choices", "extent", "figures", "row_of", "settings_list", "strengths_table"]

COLUMNS = ("score", "score_se", "val_loss", "train_loss")
MOST_FEATURES = 40


def extent(path: RegularizationPath) -> str:
    """What was trained, in a line."""
    strengths, folds = path.fold_scores.shape
    parts = [f"{strengths} strengths x {folds} folds"]
    parts += [f"{path.settings[name]} {name}" for name in ("epochs", "rows") if name in path.settings]
    return ", ".join(parts)


def choices(path: RegularizationPath) -> str:
    """Both choices, each with its figures and a sentence on what it is."""
    name, folds = path.score_name, path.fold_scores.shape[1]
    error = row_of(path, path.best)["score_se"]
    why_best = f"The mean validation {name} over {folds} folds is highest here."
    if path.best == path.best_1se:
        why_one = "No stronger penalty comes within one standard error of the best: both choices are the same."
    else:
        why_one = (
            f"The strongest penalty whose mean {name} is within one standard error ({error:.4f}) of the best: take it "
            "where a simpler model is worth a difference that the folds cannot tell from chance."
        )
    return cards(
        card(path, path.best, "Best strength", why_best),
        card(path, path.best_1se, "One-standard-error strength", why_one, kind="one"),
    )


def cards(*parts: str) -> str:
    """Cards beside each other, or below each other in a narrow window."""
    return '<div class="cards">\n' + "\n".join(parts) + "\n</div>"


def card(path: RegularizationPath, strength: float, title: str, why: str, kind: str = "", name: str = "") -> str:
    """A box with a strength, of the penalty `name` where there are several, and what it reaches."""
    row = row_of(path, strength)
    reached = f"{path.score_name} {row['score']:.4f} ± {row['score_se']:.4f}, {row['zeros']:.1%} exact zeros"
    lines = [
        f'<div class="card {kind}">' if kind else '<div class="card">',
        f"<h2>{escape(title)}</h2>",
        html.paragraph(f"{name}: {strength:.6g}" if name else f"{strength:.6g}", "number"),
        html.paragraph(reached),
    ]
    selected = _selected(path, strength)
    if selected is not None:
        shown = ", ".join(selected[:MOST_FEATURES]) + (", ..." if len(selected) > MOST_FEATURES else "")
        lines.append(html.paragraph(f"{len(selected)} features: {shown}" if selected else "no features"))
    return "\n".join([*lines, html.paragraph(why, "soft"), "</div>"])


def row_of(path: RegularizationPath, strength: float) -> dict[Any, float]:
    """The row of a strength in the path's table."""
    frame = path.to_frame()
    found: dict[Any, float] = frame[frame["strength"] == strength].to_dict("records")[0]
    return found


def cautions(sentences: Sequence[str]) -> list[str]:
    """A box for each."""
    return [html.paragraph(f"Caution: {sentence}", "caution") for sentence in sentences]


def figures(path: RegularizationPath, prefix: str = "") -> list[str]:
    """The path, and the coefficients of a linear model, where trained on all rows; see `inline_figure` for `prefix`."""
    label = escape(f"{path.score_name} and share of exact zeros against strength; the same figures are in the table")
    steps = "" if path.settings.get("proximal") else " Gradient steps make no weight exactly zero."
    note = f"Above: validation {path.score_name}, mean over folds; below: share of exact zeros.{steps}"
    parts = [inline_figure(path.plot, label, prefix), html.paragraph(note, "soft")]
    if path.fits is not None:
        try:
            drawn = inline_figure(path.plot_coefficients, "coefficients against strength", f"{prefix}coefficients-")
        except PenalizeError:
            return parts  # of a model that is not linear
        parts += [drawn, html.paragraph("Coefficients of scaled inputs, trained on all rows.", "soft")]
    return parts


def strengths_table(path: RegularizationPath) -> str:
    """A row a strength; both choices, and those that are never chosen, are marked."""
    chosen = {} if not any(map(math.isfinite, path.score)) else {"best": path.best, "one": path.best_1se}
    rows: list[html.Row] = []
    for row in path.to_frame().to_dict("records"):
        kinds = [kind for kind, strength in chosen.items() if strength == row["strength"]]
        marks = [{"best": "best", "one": "1 se"}[kind] for kind in kinds]
        if not math.isfinite(row["score"]):
            kinds, marks = ["never"], ["not finite"]
        score, error, validation, training = (f"{row[name]:.4f}" for name in COLUMNS)
        strength, zeros = f"{row['strength']:.4g}", f"{row['zeros']:.1%}"
        rows.append(
            (" ".join(kinds), html.cells(", ".join(marks), strength, score, error, zeros, validation, training))
        )
    head = ["", "strength", path.score_name, "± se", "zeros", "val loss", "train loss"]
    note = "Losses are those of the data, without the penalty. Strengths whose score is not finite are never chosen."
    return html.table(head, rows, left=[0]) + html.paragraph(note, "soft")


def settings_list(settings: Mapping[str, Any], command: str | None = None) -> str:
    """Settings, and the command, as names and values."""
    first = [] if command is None else [("command", command)]
    told = {name: value for name, value in settings.items() if name != "command" and value != []}
    rest = [(name.replace("_", " "), _shown(value)) for name, value in told.items()]
    return html.definitions([*first, *rest])


def _selected(path: RegularizationPath, strength: float) -> list[str] | None:
    """The features that a model trained on all rows looks at; None where that is not known."""
    if path.fits is None:
        return None
    try:
        return [str(feature) for feature in path.selected_features(strength)]
    except PenalizeError:
        return None  # no penalized layer takes the inputs


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(_pairs(value))
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _pairs(values: Mapping[Any, Any]) -> Iterator[str]:
    for name, value in values.items():
        yield f"{name}: {_shown(value)}"
