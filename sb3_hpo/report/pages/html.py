"""A report as one HTML file with its pictures, which loads nothing from anywhere."""

from __future__ import annotations

import base64
import html
import re
import zlib
from functools import singledispatch
from importlib import resources
from typing import TYPE_CHECKING

from sb3_hpo.report.pages.document import Code, Facts, Items, Picture, Table, Text, is_numeric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sb3_hpo.report.pages.document import Block, Section

# Nothing may be loaded from anywhere, whatever a library would like to.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; form-action 'none'; base-uri 'none'"
)
_CONFIG = {
    "displaylogo": False,
    "plotlyServerURL": "",
    "modeBarButtons": [["toImage"]],
}
# The library is unpacked after the text is shown; until then its calls wait.
_WAIT = "const calls = []; window.Plotly = {newPlot: (...call) => calls.push(call)};"
_DRAW = """
(async () => {
  const packed = atob(document.getElementById("plotly").textContent);
  const bytes = Uint8Array.from(packed, (sign) => sign.charCodeAt(0));
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const library = document.createElement("script");
  library.textContent = await new Response(unpacked).text();
  document.head.append(library);
  for (const call of calls) Plotly.newPlot(...call);
})().catch(() => { document.getElementById("undrawn").hidden = false; });
window.matchMedia("print").addEventListener("change", () => {
  for (const plot of document.querySelectorAll(".plotly-graph-div")) Plotly.Plots.resize(plot);
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
    body = []
    for section in sections:
        blocks = "\n".join(map(_html, section.blocks))
        body.append(f"<section>\n<h2>{_escaped(section.title)}</h2>\n{blocks}\n</section>")
    style = (
        resources.files("sb3_hpo.report.pages").joinpath("style.css").read_text(encoding="utf-8")
    )
    packed = base64.b64encode(zlib.compress(plotly_js.encode())).decode()
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<title>{_escaped(title)}</title>\n<link rel="icon" href="data:,">',
            f"<style>\n{style}</style>\n<script>{_WAIT}</script>\n</head>\n<body>\n<main>",
            f"<h1>{_escaped(title)}</h1>",
            "<noscript><p>The pictures need JavaScript.</p></noscript>",
            '<p id="undrawn" hidden>The pictures need a browser of 2023 or later.</p>',
            *body,
            f'</main>\n<script type="text/plain" id="plotly">{packed}</script>',
            f"<script>{_DRAW}</script>\n</body>\n</html>\n",
        ]
    )


@singledispatch
def _html(block: Block) -> str:
    raise TypeError(block)


@_html.register
def _(block: Text) -> str:
    return f"<p>{_escaped(block.text)}</p>"


@_html.register
def _(block: Items) -> str:
    return f"<ul>{''.join(f'<li>{_escaped(line)}</li>' for line in block.lines)}</ul>"


@_html.register
def _(block: Facts) -> str:
    kind = "facts" if block.is_result else "facts unsure"
    return f'<dl class="{kind}">{"".join(_fact(*fact) for fact in block.facts)}</dl>'


@_html.register
def _(block: Code) -> str:
    code = f"<pre>{html.escape(block.text)}</pre>"
    if not block.title:
        return code
    return f"<details><summary>{_escaped(block.title)}</summary>{code}</details>"


@_html.register
def _(block: Picture) -> str:
    from plotly.io import to_html as draw

    figure, note = block.draw()
    key = block.title.lower().replace(" ", "-")
    picture = draw(
        figure, _CONFIG, include_plotlyjs=False, full_html=False, div_id=key, validate=False
    )
    return (
        f"<h3>{_escaped(block.title)}</h3>"
        f'<figure><div role="img" aria-label="{html.escape(block.title)}">{picture}</div>'
        f"<figcaption>{_escaped(f'{block.explanation} {note}'.strip())}</figcaption></figure>"
    )


@_html.register
def _(block: Table) -> str:
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
