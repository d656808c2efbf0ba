"""A figure as a part of an HTML page: SVG that takes the page's colours, in a wide and a narrow form."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import matplotlib as mpl

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["inline_figure"]

# In inches; the page shows the narrow one up to 40 rem.
WIDE, NARROW, LINE = (9.0, 5.6), (4.2, 4.6), 0.19
# What fits beside each other in a narrow legend, and what a line's sign takes of it.
LETTERS, LETTERS_BESIDE = 70, 8


def inline_figure(draw: Callable[[], Figure], label: str, prefix: str = "") -> str:
    """`draw()` twice, for wide and for narrow windows, as one `<figure>`; the label, HTML, is for who cannot see it.

    The names inside begin with `prefix`, which must be another for each figure of a page.
    """
    parts = []
    for kind, size in (("wide", WIDE), ("narrow", NARROW)):
        figure = draw()
        figure.axes[0].set_title("")  # the page has a heading
        figure.set_size_inches(*size)
        if kind == "narrow":
            _legends_below(figure)
        parts.append(f'<div class="{kind}">{_svg(figure, prefix + kind)}</div>')
    return f'<figure role="img" aria-label="{label}">\n' + "\n".join(parts) + "\n</figure>"


def _legends_below(figure: Figure) -> None:
    """Legends of the whole figure as columns below it that are no wider than it."""
    for legend in list(figure.legends):
        labels = [text.get_text() for text in legend.get_texts()]
        columns = max(1, LETTERS // (LETTERS_BESIDE + max(map(len, labels), default=0)))
        handles = [handle for handle in legend.legend_handles if handle is not None]
        legend.remove()
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)
        lines = -(-len(labels) // columns)
        figure.set_size_inches(NARROW[0], NARROW[1] + LINE * lines)


def _svg(figure: Figure, prefix: str) -> str:
    """The `<svg>` alone; the same bytes for the same figure, and names that do not meet those of another figure."""
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    # Text stays text: it can be read aloud, selected, and takes the colour of the page.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "penalize"}):
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    # What stands between tags may be the user's own words.
    return re.sub("<[^>]*>", lambda tag: _in_page(tag[0], prefix), text[text.index("<svg") :].strip())


def _in_page(tag: str, prefix: str) -> str:
    # Inside HTML the names of XML are known, and would be the only addresses on the page.
    tag = re.sub(r' xmlns(:xlink)?="[^"]*"', "", tag).replace("xlink:href=", "href=")
    tag = re.sub(r' id="', f' id="{prefix}-', tag)
    tag = tag.replace('href="#', f'href="#{prefix}-').replace("url(#", f"url(#{prefix}-")
    return tag.replace("#000000", "currentColor")
