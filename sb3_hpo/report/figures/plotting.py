"""What all figures share: colours, a look, axes that no outlier flattens."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import optuna

from sb3_hpo.utils.formatting import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from optuna.trial import FrozenTrial
    from plotly.graph_objects import Figure

    Drawn: TypeAlias = tuple[Figure, str]
    """A picture, and a sentence to print below it, or ""."""

# One colour a meaning, all told apart by colour-blind eyes (Okabe and Ito, 2008).
WINNER, DEFAULT, GOOD = "#d55e00", "#0072b2", "#009e73"
OTHERS, FAINT = "#7d8ba0", "#c3c9d2"
RANKS = (WINNER, "#5b3a8c", "#56b4e9", "#e69f00", "#999933")  # of named trials
INK, GRID = "#24292f", "#ebeff5"


def styled(figure: Figure, height: int, **layout: Any) -> Figure:
    """Give a figure the page's own type and colours, and its legend above the picture.

    Args:
        figure: Any of plotly's.
        height: In pixels.
        layout: Other properties of plotly's layout.
    """
    axis = {"gridcolor": GRID, "zerolinecolor": GRID, "automargin": True,
            "title": {"font": {"size": 13}, "standoff": 8}}  # fmt: skip
    # Not one of plotly's own: they are long, and copied into every figure.
    figure.layout.template = {"layout": {"xaxis": {**axis, "exponentformat": "e"}, "yaxis": axis}}
    look = {
        "title": None,  # the page has a heading of its own
        "height": height,
        "font": {"family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif",
                 "size": 13, "color": INK},
        "margin": {"l": 64, "r": 16, "t": 40, "b": 52},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#b8bec6", "activecolor": INK},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
    }  # fmt: skip
    return figure.update_layout({**look, **layout})


def study_of(trials: Iterable[FrozenTrial]) -> optuna.Study:
    """Return a study of these trials alone, numbered anew, for Optuna to draw."""
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(direction="maximize", storage=storage)
    study.add_trials(trials)
    return study


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


def bounds(values: Iterable[float]) -> tuple[list[float], str]:
    """Return the range of an axis, and a sentence about what lies below it.

    Args:
        values: All values; those that are not finite have no place.

    Returns:
        The range, and "" if it holds all values.
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = floor_of(finite), max(finite)
    margin = (high - low) * 0.05 if high > low else abs(high) * 0.05 or 1.0
    below = [value for value in finite if value < low]
    note = ""
    if below:
        note = (
            f"The axis ends at {number(low)}: {len(below)} of {len(finite)} values lie below it, "
            f"down to {number(min(below))}."
        )
    return [low - margin, high + margin], note
