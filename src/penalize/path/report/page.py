"""The page of a report: one HTML file that asks for nothing from outside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from string import Template

__all__ = ["Row", "cells", "code", "definitions", "page", "paragraph", "section", "table"]

# A row of a table: its class, "" for none, and its cells as HTML.
Row = tuple[str, Sequence[str]]

STYLE = """
:root { color-scheme: light dark; --text: #1d2329; --soft: #5a6570; --back: #ffffff; --box: #f4f6f8; --line: #d9dee3;
  --best: #1e7b34; --best-back: #e6f4ea; --one: #a85b00; --one-back: #fdf1e0; --warn: #fff6d6; --warn-line: #d9a400; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8ec; --soft: #9aa5b0; --back: #15191d; --box: #1f252b;
  --line: #38414a; --best: #7fd394; --best-back: #173222; --one: #f0b264; --one-back: #3a2a12; --warn: #37300f;
  --warn-line: #b48a00; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; overflow-wrap: anywhere; }
p { margin: .4rem 0 .8rem; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: 1rem;
  margin: 1.2rem 0; }
.card { border: 1px solid var(--line); border-left: 5px solid var(--best); border-radius: 6px; padding: .8rem 1rem; }
.card.one { border-left-color: var(--one); }
.card h2 { margin: 0; font-size: .95rem; color: var(--best); }
.card.one h2 { color: var(--one); }
.card .number { font-size: 1.6rem; font-weight: 600; margin: .1rem 0; }
.card p:last-child { margin-bottom: 0; }
.caution { background: var(--warn); border-left: 5px solid var(--warn-line); border-radius: 6px; padding: .6rem 1rem;
  margin: .6rem 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: .3rem .8rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; }
thead th { background: var(--box); font-weight: 600; }
td.text, th.text { text-align: left; }
tr.best td { background: var(--best-back); }
tr.one td { background: var(--one-back); }
tr.best.one td { background: var(--best-back); }
tr.never td { color: var(--soft); }
dl { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr; gap: .25rem 1.2rem; margin: 0; }
dt { color: var(--soft); overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; }
pre { background: var(--box); border: 1px solid var(--line); border-radius: 6px; padding: .8rem 1rem; overflow-x: auto;
  margin: .4rem 0 1rem; font: .88rem/1.5 ui-monospace, monospace; }
figure { margin: 0; }
figure svg { width: 100%; height: auto; display: block; }
figure svg text { fill: currentColor; }
figure .narrow { display: none; }
@media (max-width: 40rem) { figure .wide { display: none; } figure .narrow { display: block; }
  body { font-size: 15px; } main { padding: 1rem .8rem 2rem; } th, td { padding: .3rem .55rem; } }
@media print { .scroll { overflow: visible; } }
"""

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
$body
</main>
</body>
</html>
""")


def page(title: str, body: Iterable[str]) -> str:
    """The whole file. The title is text and is escaped here; the parts of the body are HTML.

    Its policy forbids the browser every request, and every script.
    """
    return PAGE.substitute(title=escape(title), style=STYLE, body="\n".join(body))


def section(title: str, *parts: str) -> str:
    """A heading, which is text, and parts, which are HTML."""
    return "\n".join([f"<section>\n<h2>{escape(title)}</h2>", *parts, "</section>"])


def paragraph(text: str, kind: str = "") -> str:
    """A text as a paragraph of a class.

    >>> paragraph("a < b")
    '<p>a &lt; b</p>'
    """
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def code(text: str) -> str:
    """Lines to copy."""
    return f"<pre><code>{escape(text)}</code></pre>"


def cells(*texts: str) -> list[str]:
    """Texts as the cells of a row."""
    return [escape(text) for text in texts]


def table(head: Sequence[str], rows: Iterable[Row], left: Sequence[int] = ()) -> str:
    """A table in a box that scrolls where the window is narrow; columns in `left` are aligned to the left."""
    sides = ["text" if place in left else "" for place in range(len(head))]
    top = "".join(_cell("th", side, escape(name)) for side, name in zip(sides, head, strict=True))
    body = []
    for kind, row in rows:
        opening = f'<tr class="{kind}">' if kind else "<tr>"
        body.append(opening + "".join(_cell("td", side, cell) for side, cell in zip(sides, row, strict=True)) + "</tr>")
    return (
        f'<div class="scroll" tabindex="0"><table>\n<thead><tr>{top}</tr></thead>\n'
        "<tbody>\n" + "\n".join(body) + "\n</tbody>\n</table></div>"
    )


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values, both texts."""
    items = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs)
    return f"<dl>\n{items}\n</dl>"


def _cell(tag: str, side: str, content: str) -> str:
    return f'<{tag} class="{side}">{content}</{tag}>' if side else f"<{tag}>{content}</{tag}>"
