"""The pictures of a path."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

__all__ = ["draw_coefficients", "draw_comparison", "draw_path", "figure_bytes"]

# More lines than these cannot be told apart by a name beside each.
MOST_NAMES = 12
COLORS = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
STYLES = ("-", "--", ":", "-.")
MARKERS = "osD^vPX"


def draw_path(frame: pd.DataFrame, best: float, best_1se: float, score_name: str, settings: dict[str, Any]) -> Figure:
    """Score with a band of one standard error above, share of zeros below, against strength; both choices marked."""
    figure, (above, below) = _two_panels()
    strength, score, error = frame["strength"], frame["score"], frame["score_se"]
    above.fill_between(
        strength, score - error, score + error, color="tab:blue", alpha=0.35, lw=0, label="± 1 standard error"
    )
    above.plot(strength, score, color="tab:blue", marker="o", ms=3.5, label=f"validation {score_name}, mean over folds")
    below.plot(strength, frame["zeros"], color="tab:gray", marker="o", ms=3.5)
    for axis in (above, below):
        _mark_choices(axis, best, best_1se)
    above.set_ylabel(score_name)
    above.set_title(_title(settings))
    _legend_below(figure, above, columns=2)
    return figure


def draw_comparison(frames: dict[str, pd.DataFrame], best: tuple[str, float], score_name: str, title: str) -> Figure:
    """The scores of several penalties above, their shares of zeros below; the best strength of all is ringed."""
    figure, (above, below) = _two_panels()
    for number, (name, frame) in enumerate(frames.items()):
        color, style = COLORS[number % len(COLORS)], STYLES[number // len(COLORS) % len(STYLES)]
        strength, score, error = frame["strength"], frame["score"], frame["score_se"]
        above.fill_between(strength, score - error, score + error, color=color, alpha=0.12, lw=0)
        # Lines that lie on each other are all seen: the first is the widest.
        share = 1 - number / len(frames)
        line: dict[str, Any] = {"color": color, "ls": style, "marker": MARKERS[number % len(MARKERS)]}
        line |= {"lw": 1 + 2 * share, "ms": 3 + 4 * share}
        above.plot(strength, score, **line, label=name)
        below.plot(strength, frame["zeros"], **line)
    chosen = frames[best[0]].set_index("strength").loc[best[1]]
    ring: dict[str, Any] = {
        "marker": "o",
        "ms": 11,
        "mfc": "none",
        "mec": "black",
        "mew": 1.3,
        "ls": "none",
        "zorder": 5,
    }
    above.plot(best[1], chosen["score"], **ring, label=f"best: {best[0]}, {best[1]:.3g}")
    below.plot(best[1], chosen["zeros"], **ring)
    above.set_ylabel(f"validation {score_name} ± 1 standard error")
    above.set_title(title)
    _legend_below(figure, above, columns=2 if max(map(len, frames)) > 24 else 3)
    return figure


def draw_coefficients(
    strengths: np.ndarray,
    weights: np.ndarray,
    best: float,
    best_1se: float,
    names: Sequence[str],
    classes: Sequence[Any] | None,
) -> Figure:
    """Each weight of `weights` (strengths, outputs, inputs) as a line against strength; the largest have names."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    _, outputs, _ = weights.shape
    lines = weights.reshape(len(strengths), -1)
    labels = [name if outputs == 1 else f"{_class(classes, out)}: {name}" for out in range(outputs) for name in names]
    sizes = np.nan_to_num(np.abs(lines)).max(axis=0)
    named = [place for place in np.argsort(-sizes, kind="stable")[:MOST_NAMES] if sizes[place] > 0]
    shown = set(named)
    rest = [place for place in range(lines.shape[1]) if place not in shown]
    for place in rest:
        axis.plot(strengths, lines[:, place], color="tab:gray", alpha=0.35, lw=0.7)
    for number, place in enumerate(named):
        color, style = COLORS[number % len(COLORS)], STYLES[number // len(COLORS)]
        axis.plot(strengths, lines[:, place], color=color, ls=style, lw=1.4, label=labels[place])
    axis.axhline(0, color="black", lw=0.6)
    _dress(axis)
    _mark_choices(axis, best, best_1se, ("black", "black"))
    axis.set_xscale("log")
    axis.set_xlabel("strength (log scale)")
    axis.set_ylabel("weight, of scaled inputs")
    axis.set_title("weights of models trained on all rows")
    title = f"the {len(named)} largest of {lines.shape[1]}" if rest else None
    figure.legend(loc="outside right upper", frameon=False, fontsize=8, title=title, title_fontsize=8)
    return figure


def figure_bytes(figure: Figure) -> bytes:
    """The figure as a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def _two_panels() -> tuple[Figure, tuple[Axes, Axes]]:
    figure = Figure(figsize=(7.5, 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.3])
    _dress(above)
    _dress(below)
    above.set_xscale("log")
    below.set_ylabel("exact zeros")
    below.set_ylim(-0.03, 1.03)
    below.yaxis.set_major_formatter(PercentFormatter(1.0))
    below.set_xlabel("strength (log scale)")
    return figure, (above, below)


def _dress(axis: Axes) -> None:
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def _mark_choices(
    axis: Axes, best: float, best_1se: float, colors: tuple[str, str] = ("tab:green", "tab:orange")
) -> None:
    axis.axvline(best, color=colors[0], lw=1.4, ls="--", label=f"best: {best:.3g}")
    axis.axvline(best_1se, color=colors[1], lw=1.4, ls=":", label=f"one standard error: {best_1se:.3g}")


def _legend_below(figure: Figure, axis: Axes, columns: int) -> None:
    """Outside of the axes, so that it covers no line."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def _title(settings: dict[str, Any]) -> str:
    parts = [str(settings[key]) for key in ("data", "penalty", "on") if key in settings]
    if "penalty" not in settings and settings.get("penalties"):
        parts += sorted({str(text).partition("(")[0] for text in settings["penalties"].values()})
    parts.append("proximal steps" if settings.get("proximal") else "gradient steps")
    return " · ".join(parts)


def _class(classes: Sequence[Any] | None, place: int) -> str:
    return str(classes[place]) if classes else f"output {place}"
