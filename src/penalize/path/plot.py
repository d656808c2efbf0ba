"""The picture of a path."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

__all__ = ["draw_path", "figure_bytes"]


def draw_path(frame: pd.DataFrame, best: float, best_1se: float, score_name: str, settings: dict[str, Any]) -> Figure:
    """Score with a band of one standard error above, share of zeros below, against strength; both choices marked."""
    figure = Figure(figsize=(7.5, 6), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.3])
    strength, score, error = frame["strength"], frame["score"], frame["score_se"]
    above.fill_between(
        strength, score - error, score + error, color="tab:blue", alpha=0.35, lw=0, label="± 1 standard error"
    )
    above.plot(strength, score, color="tab:blue", marker="o", ms=3.5, label=f"validation {score_name}, mean over folds")
    below.plot(strength, frame["zeros"], color="tab:gray", marker="o", ms=3.5)
    for axis in (above, below):
        axis.axvline(best, color="tab:green", lw=1.4, ls="--", label=f"best: {best:.3g}")
        axis.axvline(best_1se, color="tab:orange", lw=1.4, ls=":", label=f"one standard error: {best_1se:.3g}")
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    above.set_xscale("log")
    above.set_ylabel(score_name)
    above.set_title(" · ".join(str(settings[key]) for key in ("data", "penalty", "on") if key in settings))
    above.legend(frameon=False, loc="best", fontsize=9)
    below.set_ylabel("exact zeros")
    below.set_ylim(-0.03, 1.03)
    below.yaxis.set_major_formatter(PercentFormatter(1.0))
    below.set_xlabel("strength (log scale)")
    return figure


def figure_bytes(figure: Figure) -> bytes:
    """The figure as a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()
