"""Pictures of the search: its history and the learning curves of its trials.

Each function returns a figure, or one sentence that says why there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sb3_hpo.report.figures.plotting import (
    COMPLETE,
    DEFAULT,
    INFEASIBLE,
    INK,
    PRUNED,
    RANKS,
    WINNER,
    Drawn,
    Figure,
    axis,
    bounds,
    dots,
    layout,
    line,
)
from sb3_hpo.utils.formatting import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sb3_hpo.report.pages.trial_curves import SearchHistory, TrialCurve


def value_history(history: SearchHistory) -> Drawn:
    """Draw trial values and the best so far against the environment steps spent."""
    done = [curve for curve in history.curves if curve.kind not in ("running", "failed")]
    if not any(curve.value is not None for curve in done):
        return "No history: no trial is COMPLETE yet."
    counted = all(c.n_steps is not None for c in done if c.outcome != "lost")
    spent: dict[int, int] = {}
    total = 0
    for curve in history.curves:  # failed trials cost steps too
        total += (curve.n_steps or 0) if counted else int(curve in done)
        spent[curve.number] = total
    heights = {c.number: _height(c) for c in done}
    limits, note = bounds([height for height in heights.values() if height is not None])
    traces = [
        trace
        for kind in ("complete", "pruned", "infeasible")
        if (trace := _history_dots(history, kind, spent, heights, limits))
    ]
    default = next((c for c in done if c.is_default and c.value is not None), None)
    if default is not None:
        at = max(default.value or 0.0, limits[0])
        ends = [0, max(spent.values())]
        style = {"color": DEFAULT, "width": 1.5, "dash": "dash"}
        traces.append(line(ends, [at, at], "default point", line=style, hoverinfo="name"))
    traces.append(_incumbent(done, spent))
    leader = next((c for c in done if c.number == history.leader and c.value is not None), None)
    if leader is not None:
        star = {
            "symbol": "star",
            "size": 14,
            "color": WINNER,
            "line": {"width": 1, "color": "#fff"},
        }
        label = history.name(leader)
        traces.append(dots([spent[leader.number]], [leader.value], label, marker=star,
                            hovertemplate="%{y:,.4~g}"))  # fmt: skip
    x = "environment steps spent, all trials together" if counted else "finished trials"
    y = axis(f"trial value ({history.quantity})", range=limits)
    return Figure(traces, layout(400, xaxis=axis(x, rangemode="tozero"), yaxis=y), note)


def _height(curve: TrialCurve) -> float | None:
    """Return where a trial lies in the history: at its value, or at its last evaluation."""
    if curve.kind == "complete":
        return curve.value
    return curve.values[-1] if curve.values else None


def _history_dots(
    history: SearchHistory,
    kind: str,
    spent: dict[int, int],
    heights: dict[int, float | None],
    limits: list[float],
) -> dict[str, Any] | None:
    curves = [c for c in history.curves if c.kind == kind and c.number != history.leader]
    if not curves:
        return None
    colour, symbol, name = {
        "complete": (COMPLETE, "circle", "complete"),
        "pruned": (PRUNED, "circle-open", "pruned (last evaluation)"),
        "infeasible": (INFEASIBLE, "x", "infeasible"),
    }[kind]
    raw = [heights[curve.number] for curve in curves]
    y = [limits[0] if height is None else max(height, limits[0]) for height in raw]
    text = [
        f"{history.name(curve)}, {curve.outcome}: {'no value' if h is None else number(h)}"
        for curve, h in zip(curves, raw, strict=True)
    ]
    line = {"width": 1.5} if symbol.endswith("open") else {"width": 0}
    marker = {"color": colour, "symbol": symbol, "size": 7, "line": line}
    x = [spent[curve.number] for curve in curves]
    hover = {"text": text, "hovertemplate": "%{text}<extra></extra>", "cliponaxis": False}
    return dots(x, y, name, marker=marker, **hover)


def _incumbent(done: Sequence[TrialCurve], spent: dict[int, int]) -> dict[str, Any]:
    x: list[int] = []
    y: list[float] = []
    for curve in done:
        if curve.value is not None and (not y or curve.value > y[-1]):
            x.append(spent[curve.number])
            y.append(curve.value)
    x.append(max(spent.values()))
    y.append(y[-1])
    style = {"color": INK, "width": 1.5, "shape": "hv"}
    return line(x, y, "best so far", line=style, hovertemplate="%{y:,.4~g}")


def trial_curves(history: SearchHistory, n_named: int = 5) -> Drawn:
    """Draw the learning curves of all trials: pruned ones faint, the best named.

    Args:
        n_named: How many of the best have a colour of their own.
    """
    with_curve = [curve for curve in history.curves if curve.values]
    if not with_curve:
        return "No learning curves: no trial has reported an evaluation yet."
    rest, named = (
        [],
        sorted(
            (c for c in with_curve if c.value is not None and not c.is_default),
            key=lambda c: (c.number != history.leader, -(c.value or 0.0)),
        )[:n_named],
    )
    default = [c for c in with_curve if c.is_default]
    rest = [c for c in with_curve if c not in named and c not in default]
    traces = []
    for kinds, colour, name in (
        (("pruned", "infeasible", "failed"), PRUNED, "pruned or failed"),
        (("complete", "running"), COMPLETE, "complete or running"),
    ):
        group = [curve for curve in rest if curve.kind in kinds]
        if group:
            traces.append(_many_curves(group, colour, name))
    styles = [*zip(named, RANKS, strict=False), *((curve, DEFAULT) for curve in default)]
    for curve, colour in reversed(styles):
        traces.append(_named_curve(history, curve, colour))
    limits, note = bounds([value for curve in with_curve for value in curve.values])
    y = axis(f"mean {history.quantity} of an evaluation", range=limits)
    x = axis(history.step, rangemode="tozero")
    return Figure(traces, layout(460, xaxis=x, yaxis=y), note)


def _many_curves(curves: Sequence[TrialCurve], colour: str, name: str) -> dict[str, Any]:
    """Return one trace for many curves: quick to draw, however many there are."""
    x: list[int | None] = []
    y: list[float | None] = []
    numbers: list[int | None] = []
    for curve in curves:
        x += [*curve.steps, None]
        y += [*curve.values, None]
        numbers += [curve.number] * len(curve.steps) + [None]
    style = {"color": colour, "width": 1.2}
    hover = "trial %{customdata}: %{y:,.4~g}<extra></extra>"
    return line(x, y, name, line=style, opacity=0.7, customdata=numbers, hovertemplate=hover)


def _named_curve(history: SearchHistory, curve: TrialCurve, colour: str) -> dict[str, Any]:
    width = 3 if curve.number == history.leader else 1.8
    style = {"color": colour, "width": width, "dash": "dash" if curve.is_default else "solid"}
    name = history.name(curve)
    return line(curve.steps, curve.values, name, line=style,
                mode="lines+markers" if len(curve.steps) == 1 else "lines",
                hovertemplate="%{y:,.4~g}")  # fmt: skip
