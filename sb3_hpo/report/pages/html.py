"""A report as one HTML file with its pictures, which loads nothing from anywhere."""

from __future__ import annotations

import html
import json
import math
import re
from functools import singledispatch
from importlib import resources
from typing import TYPE_CHECKING, Any

from sb3_hpo.report.figures.plotting import Figure
from sb3_hpo.report.pages.document import Code, Facts, Items, Picture, Table, Text, is_numeric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sb3_hpo.report.pages.document import Block, Section

# Nothing may be loaded from anywhere, whatever a library would like to.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; form-action 'none'; base-uri 'none'"
)
_DRAW = """
for (const [id, figure] of Object.entries(FIGURES)) {
  Plotly.newPlot(id, figure.data, figure.layout, {
    responsive: true, displaylogo: false, showLink: false, plotlyServerURL: "",
    modeBarButtons: [["toImage"]],
  });
}
window.matchMedia("print").addEventListener("change", () => {
  for (const id of Object.keys(FIGURES)) Plotly.Plots.resize(id);
});
"""


def to_html(title: str, sections: Sequence[Section], plotly_js: str) -> str:
    """Write a report as one HTML file that loads nothing.

    Args:
        title: Heading.
        sections: What it says.
        plotly_js: Source of plotly.js.

    Returns:
        HTML. All text is escaped.
    """
    figures: dict[str, Figure] = {}
    body = []
    for section in sections:
        blocks = "\n".join(_html(block, figures) for block in section.blocks)
        body.append(f"<section>\n<h2>{_escaped(section.title)}</h2>\n{blocks}\n</section>")
    style = (
        resources.files("sb3_hpo.report.pages").joinpath("style.css").read_text(encoding="utf-8")
    )
    drawings = {key: {"data": f.data, "layout": f.layout} for key, f in figures.items()}
    script = f"const FIGURES = {_json(drawings)};{_DRAW}"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<title>{_escaped(title)}</title>\n<link rel="icon" href="data:,">',
            f"<style>\n{style}</style>\n<script>{plotly_js}</script>\n</head>\n<body>\n<main>",
            f"<h1>{_escaped(title)}</h1>",
            "<noscript><p>The pictures need JavaScript.</p></noscript>",
            *body,
            f"</main>\n<script>{script}</script>\n</body>\n</html>\n",
        ]
    )


@singledispatch
def _html(block: Block, _figures: dict[str, Figure]) -> str:
    """Write one block; figures go by the id of the element that will hold them."""
    raise TypeError(block)


@_html.register
def _(block: Text, _figures: dict[str, Figure]) -> str:
    return f"<p>{_escaped(block.text)}</p>"


@_html.register
def _(block: Items, _figures: dict[str, Figure]) -> str:
    return f"<ul>{''.join(f'<li>{_escaped(line)}</li>' for line in block.lines)}</ul>"


@_html.register
def _(block: Facts, _figures: dict[str, Figure]) -> str:
    kind = "facts" if block.is_result else "facts unsure"
    return f'<dl class="{kind}">{"".join(_fact(*fact) for fact in block.facts)}</dl>'


@_html.register
def _(block: Code, _figures: dict[str, Figure]) -> str:
    code = f"<pre>{html.escape(block.text)}</pre>"
    if not block.title:
        return code
    return f"<details><summary>{_escaped(block.title)}</summary>{code}</details>"


@_html.register
def _(block: Picture, figures: dict[str, Figure]) -> str:
    heading = f"<h3>{_escaped(block.title)}</h3>" if block.title else ""
    if not isinstance(block.drawn, Figure):
        return f'{heading}<p class="absent">{_escaped(block.drawn)}</p>'
    key = f"figure-{len(figures) + 1}"
    figures[key] = block.drawn
    caption = _escaped(f"{block.explanation} {block.drawn.note}".strip())
    label = html.escape(block.title or block.explanation)
    return (
        f'{heading}<figure><div class="plot" id="{key}" role="img" aria-label="{label}" '
        f'style="height:{block.drawn.layout["height"]}px"></div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


@_html.register
def _(block: Table, _figures: dict[str, Figure]) -> str:
    numeric = [is_numeric(column) for column in zip(*block.rows, strict=True)]
    numeric = numeric or [False] * len(block.header)

    def row(cells: Sequence[str], tag: str) -> str:
        written = (
            f'<{tag} class="number">{_escaped(cell)}</{tag}>'
            if right
            else f"<{tag}>{_escaped(cell)}</{tag}>"
            for cell, right in zip(cells, numeric, strict=True)
        )
        return f"<tr>{''.join(written)}</tr>"

    rows = "\n".join(row(cells, "td") for cells in block.rows)
    head = f"<thead>{row(block.header, 'th')}</thead>"
    return f'<div class="wide"><table>{head}\n<tbody>{rows}</tbody></table></div>'


def _fact(name: str, value: str, detail: str) -> str:
    detail = f'<dd class="detail">{_escaped(detail)}</dd>' if detail else ""
    return f"<div><dt>{_escaped(name)}</dt><dd>{_escaped(value)}</dd>{detail}</div>"


def _escaped(text: str) -> str:
    return re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _json(value: Any) -> str:
    """Return JSON that may stand inside a script element."""
    text = json.dumps(_plain(value), allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c")


def _plain(value: Any) -> Any:
    """Round numbers to what a screen can show; what is not finite becomes a gap."""
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
