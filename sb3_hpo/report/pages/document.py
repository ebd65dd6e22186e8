"""A report as data: sections of facts, written as HTML or Markdown elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sb3_hpo.report.figures.plotting import Drawn


@dataclass(frozen=True)
class Text:
    """A paragraph; `code` stands between backticks."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """Numbers to be seen first: (name, value, what belongs to it), the most important first.

    `is_result` is False where the first one only looks like an answer.
    """

    facts: tuple[tuple[str, str, str], ...]
    is_result: bool = True


@dataclass(frozen=True)
class Table:
    """A table; every row has as many cells as the header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Picture:
    """A figure, drawn only where it is shown, and how to read it.

    `instead` stands for it where there are no pictures.
    """

    title: str
    draw: Callable[[], Drawn]
    explanation: str
    instead: Table | None = None


@dataclass(frozen=True)
class Code:
    """Text as it is; folded under its title where there is one."""

    text: str
    title: str = ""


Block: TypeAlias = "Text | Items | Facts | Table | Picture | Code"


@dataclass(frozen=True)
class Section:
    """A heading and what is below it."""

    title: str
    blocks: tuple[Block, ...]


def is_numeric(cells: Sequence[str]) -> bool:
    """Say whether a table's column holds numbers, which are aligned on the right.

    >>> is_numeric(["-1,138", "12.5 min", ""]), is_numeric(["0.1 to 0.4"])
    (True, False)
    """
    number = re.compile(r"[-+]?\d[\d,]*(\.\d+)?(e-?\d+)?( (s|min|h|%))?")
    return all(number.fullmatch(cell) or not cell for cell in cells)
