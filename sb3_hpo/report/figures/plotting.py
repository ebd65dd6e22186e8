"""What all figures share: colours, axes that no outlier flattens, numbers for reading.

Figures are plain data for plotly.js, so that only the page that shows them needs plotly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sb3_hpo.utils.formatting import number

if TYPE_CHECKING:
    from collections.abc import Sequence

# One colour a meaning, all told apart by colour-blind eyes (Okabe and Ito, 2008).
WINNER, DEFAULT, GOOD = "#d55e00", "#0072b2", "#009e73"
COMPLETE, PRUNED, INFEASIBLE = "#7d8ba0", "#c3c9d2", "#cc79a7"
RANKS = (WINNER, "#5b3a8c", "#56b4e9", "#e69f00", "#999933")  # of named trials
INK, GRID = "#24292f", "#e8eaed"


@dataclass(frozen=True)
class Figure:
    """A picture.

    Attributes:
        data: Plotly traces.
        layout: Plotly layout.
        note: A sentence to print below it, or "".
    """

    data: list[dict[str, Any]]
    layout: dict[str, Any]
    note: str = ""


Drawn: TypeAlias = "Figure | str"


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return an axis with a title and quiet lines."""
    look = {"gridcolor": GRID, "zeroline": False, "automargin": True, "linecolor": "#b8bec6"}
    words = {"text": title, "standoff": 8, "font": {"size": 13}}
    return {"title": words, **look, **more}


def layout(height: int, **more: Any) -> dict[str, Any]:
    """Return a layout in the page's own type, with the legend above the picture."""
    return {
        "height": height,
        "font": {"family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif",
                 "size": 13, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 64, "r": 16, "t": 40, "b": 52},
        "hovermode": "closest",
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#b8bec6", "activecolor": INK},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        **more,
    }  # fmt: skip


def floor_of(values: Sequence[float]) -> float:
    """Return the lower end of an axis on which no disaster flattens the rest.

    Args:
        values: All values, finite, at least one.

    Returns:
        The smallest value, but outliers: up to a tenth of the values if they lie three times as
        far below the rest as the rest is wide or large, up to a quarter if ten times. Large
        values are never outliers: one may be the answer.

    >>> floor_of([*range(100), -50]), floor_of([*range(100), -10_000])
    (-50, 0)
    """
    bound, top = -math.inf, max(values)
    for share, reach in ((0.1, 3), (0.25, 10)):
        low = float(np.quantile(values, share))
        size = max(top - low, abs(top), abs(low))
        if size > 0:
            bound = max(bound, low - reach * size)
    return min(value for value in values if value >= bound)


def bounds(values: Sequence[float], *, room: float = 0.05) -> tuple[list[float], str]:
    """Return the range of an axis, and a sentence about what lies below it.

    Args:
        values: All values, finite, at least one.
        room: Empty part at both ends.

    Returns:
        The range, and "" if it holds all values.
    """
    low, high = floor_of(values), max(values)
    margin = (high - low) * room if high > low else abs(high) * 0.05 or 1.0
    below = [value for value in values if value < low]
    note = ""
    if below:
        note = (
            f"The axis ends at {number(low)}: {len(below)} of {len(values)} values lie below it, "
            f"down to {number(min(below))}."
        )
    return [low - margin, high + margin], note


def dots(x: Sequence[Any], y: Sequence[Any], name: str, **more: Any) -> dict[str, Any]:
    """Return a trace of markers."""
    return {"type": "scatter", "mode": "markers", "x": list(x), "y": list(y), "name": name, **more}


def line(x: Sequence[Any], y: Sequence[Any], name: str, **more: Any) -> dict[str, Any]:
    """Return a trace of lines; None in the data breaks a line."""
    return {**dots(x, y, name, **more), "mode": more.get("mode", "lines")}
