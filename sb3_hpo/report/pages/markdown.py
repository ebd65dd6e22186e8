"""A report as Markdown that can be read in a terminal."""

from __future__ import annotations

import re
from functools import singledispatch
from typing import TYPE_CHECKING

from sb3_hpo.report.pages.document import Code, Facts, Items, Picture, Table, Text, is_numeric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sb3_hpo.report.pages.document import Block, Section


def to_markdown(title: str, sections: Sequence[Section]) -> str:
    """Write a report as Markdown: all facts, no pictures.

    Args:
        title: Heading.
        sections: What it says.

    Returns:
        Markdown that can be read in a terminal; tables are aligned.
    """
    parts = [f"# {_marked(title)}"]
    for section in sections:
        parts.append(f"## {_marked(section.title)}")
        parts += [text for block in section.blocks if (text := _markdown(block))]
    return "\n\n".join(parts) + "\n"


@singledispatch
def _markdown(block: Block) -> str:
    raise TypeError(block)


@_markdown.register
def _(block: Text) -> str:
    return _marked(block.text)


@_markdown.register
def _(block: Items) -> str:
    return "\n".join(f"- {_marked(line)}" for line in block.lines)


@_markdown.register
def _(block: Facts) -> str:
    return _table(("", "", ""), block.facts)


@_markdown.register
def _(block: Table) -> str:
    return _table(block.header, block.rows)


@_markdown.register
def _(block: Picture) -> str:
    return _markdown(block.instead) if block.instead is not None else ""


@_markdown.register
def _(block: Code) -> str:
    longest = max(map(len, re.findall("`+", block.text)), default=0)
    fence = "`" * max(3, longest + 1)
    heading = f"### {_marked(block.title)}\n\n" if block.title else ""
    return f"{heading}{fence}\n{block.text.rstrip()}\n{fence}"


def _marked(text: str) -> str:
    """Escape what Markdown would take for HTML."""
    return " ".join(text.split()).replace("<", r"\<")


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    table = [[_marked(cell).replace("|", r"\|") for cell in row] for row in (header, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*table, strict=True)]
    right = [is_numeric(column) for column in zip(*rows, strict=True)] or [False] * len(header)
    rule = [
        "-" * (width - 1) + ":" if numeric else "-" * width
        for width, numeric in zip(widths, right, strict=True)
    ]
    lines = []
    for row in (table[0], rule, *table[1:]):
        cells = [
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(row, widths, right, strict=True)
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
