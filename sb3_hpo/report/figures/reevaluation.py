"""Pictures of the re-evaluation: scores of race and test, and the winner's learning curves.

Each function returns a figure, or one sentence that says why there is none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sb3_hpo.report.figures.plotting import (
    COMPLETE,
    DEFAULT,
    INK,
    WINNER,
    Drawn,
    Figure,
    axis,
    bounds,
    dots,
    layout,
    line,
)
from sb3_hpo.scoring import statistics
from sb3_hpo.utils.formatting import interval, number, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sb3_hpo.report.pages.trial_curves import SearchHistory
    from sb3_hpo.results.study_result import StudyResult, TestResult
    from sb3_hpo.scoring.statistics import Estimate

_ROW, _GAP, _TOP, _BOTTOM = 46, 92, 62, 52  # pixels


@dataclass(frozen=True)
class _Row:
    """One candidate: its seeds, what is estimated from them, and the number to print beside."""

    label: str
    colour: str
    seeds: tuple[float, ...]
    estimate: Estimate | None
    text: str
    trial_value: float | None


def scores(result: StudyResult, history: SearchHistory) -> Drawn:
    """Draw the scores of test and race: every seed a dot, intervals, the trial values.

    Args:
        result: What is known.
    """
    tests = [tested for tested in (result.winner, result.default) if tested is not None]
    if not tests and not result.raced:
        return "No scores of race and test: nothing has been re-evaluated yet."
    values: dict[int | None, float | None] = {c.number: c.value for c in history.curves}
    judged = [_test_row(tested, tested is result.winner) for tested in tests]
    raced = [
        _race_row(
            history.candidate_name(candidate.trial),
            runs,
            values.get(candidate.trial),
            chosen=history.winner_known and candidate.trial == history.leader,
        )
        for candidate, runs in result.raced
    ]
    panels = []
    if judged:
        title = "<b>Test</b>: final policies of unseen training seeds on unseen episodes"
        panels.append((judged, title, f"mean {history.quantity} of a final policy"))
    if raced:
        title = "<b>Race</b>, which chose: scores of learning curves from fresh training seeds"
        panels.append((raced, title, f"score of a learning curve ({history.quantity})"))
    figure = _stack(panels)
    broken = sum(not math.isfinite(score) for _, runs in result.raced for score in runs)
    if broken:
        note = f"{plural(broken, 'race run')} broke without a score."
        figure = Figure(figure.data, figure.layout, f"{figure.note} {note}".strip())
    return figure


def _test_row(tested: TestResult, chosen: bool) -> _Row:
    iqm = tested.iqm
    return _Row(
        label=f"{tested.candidate.name} (winner)" if chosen else tested.candidate.name,
        colour=WINNER if chosen else DEFAULT,
        seeds=tuple(map(float, statistics.seed_means(tested.scores))),
        estimate=iqm,
        text=f"IQM {number(iqm.value)}"
        + ("" if iqm.interval is None else f"<br>{interval(iqm.interval)}"),
        trial_value=tested.candidate.trial_value,
    )


def _race_row(
    name: str, runs: Sequence[float], trial_value: float | None, *, chosen: bool
) -> _Row:
    seeds = tuple(score for score in runs if math.isfinite(score))
    estimate = None
    if len(seeds) == len(runs):
        estimate = statistics.Estimate(float(np.mean(seeds)))
    return _Row(
        label=f"{name} (winner)" if chosen else name,
        colour=WINNER if chosen else COMPLETE,
        seeds=seeds,
        estimate=estimate,
        text=f"mean {number(estimate.value) if estimate else '-'}<br>{plural(len(runs), 'seed')}",
        trial_value=trial_value,
    )


def _stack(panels: Sequence[tuple[Sequence[_Row], str, str]]) -> Figure:
    """Put panels below each other, each with an axis of its own."""
    sizes = [_ROW * len(rows) for rows, _, _ in panels]
    inner = sum(sizes) + _GAP * (len(panels) - 1)
    margin = {"l": 130, "r": 130, "t": _TOP, "b": _BOTTOM}
    page = layout(inner + _TOP + _BOTTOM, margin=margin, annotations=[])
    page["legend"] |= {"y": 1 + 26 / inner}
    data: list[dict[str, Any]] = []
    notes = []
    top = 1.0
    for index, ((rows, title, x_title), size) in enumerate(zip(panels, sizes, strict=True), 1):
        known = [v for row in rows for v in (*row.seeds, row.trial_value) if v is not None]
        limits, note = bounds(known or [0.0])
        notes.append(note)
        suffix = "" if index == 1 else str(index)
        domain = [max(0.0, top - size / inner), top]
        page[f"xaxis{suffix}"] = axis(x_title, range=limits, anchor=f"y{suffix}")
        page[f"yaxis{suffix}"] = axis(
            "", range=[len(rows) - 0.5, -0.5], tickvals=list(range(len(rows))), domain=domain,
            ticktext=[row.label for row in rows], anchor=f"x{suffix}", showgrid=False,
        )  # fmt: skip
        page["annotations"] += _labels(rows, title, suffix, top)
        axes = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
        for trace in _marks(rows, limits[0]):
            shown = index == 1 and trace.get("showlegend", True)
            data.append({**trace, **axes, "showlegend": shown})
        top -= (size + _GAP) / inner
    return Figure(data, page, " ".join(filter(None, notes)))


def _labels(rows: Sequence[_Row], title: str, suffix: str, top: float) -> list[dict[str, Any]]:
    shared = {"xref": "paper", "xanchor": "left", "showarrow": False, "align": "left"}
    heading = {"text": title, "x": 0, "y": top, "yref": "paper", "yanchor": "bottom", **shared}
    beside = [
        {"text": row.text, "x": 1.01, "y": place, "yref": f"y{suffix}", "font": {"size": 12}}
        for place, row in enumerate(rows)
    ]
    return [heading, *({**label, **shared} for label in beside)]


def _marks(rows: Sequence[_Row], low: float) -> list[dict[str, Any]]:
    """Return the marks of a panel; what lies below its axis is drawn at the edge."""
    seeds = [(score, place, row) for place, row in enumerate(rows) for score in row.seeds]
    # Golden-ratio steps spread dots that would hide each other, without chance.
    jitter = [((0.618 * i) % 1 - 0.5) * 0.36 for i in range(len(seeds))]
    hover = {"hovertemplate": "%{customdata:,.5~g}", "cliponaxis": False}
    traces = [
        dots(
            [max(score, low) for score, _, _ in seeds],
            [place + shift for (_, place, _), shift in zip(seeds, jitter, strict=True)],
            "one seed",
            customdata=[score for score, _, _ in seeds],
            marker={"size": 7, "opacity": 0.5, "color": [row.colour for *_, row in seeds]},
            **hover,
        )
    ]
    sure = [(row.estimate, place, row.colour) for place, row in enumerate(rows) if row.estimate]
    for index, (estimate, place, colour) in enumerate(sure):
        traces.append(_diamond(estimate, place, colour, in_legend=index == 0))
    valued = [(row.trial_value, place) for place, row in enumerate(rows)]
    known = [(value, place) for value, place in valued if value is not None]
    if known:
        upright = {"symbol": "line-ns-open", "size": 18, "color": INK, "line": {"width": 2}}
        x, y = [max(value, low) for value, _ in known], [place for _, place in known]
        name, values = "trial value, from the search", [value for value, _ in known]
        traces.append(dots(x, y, name, marker=upright, customdata=values, **hover))
    return traces


def _diamond(estimate: Estimate, place: int, colour: str, *, in_legend: bool) -> dict[str, Any]:
    name = "estimate; the bar is a 95 % interval"
    low, high = estimate.interval or (estimate.value, estimate.value)
    bar = {
        "type": "data",
        "symmetric": False,
        "array": [high - estimate.value],
        "arrayminus": [estimate.value - low],
        "thickness": 2.5,
        "width": 7,
    }
    edge = {"width": 1, "color": "#fff"}
    look = {"symbol": "diamond", "size": 12, "color": colour, "line": edge}
    more = {"legendgroup": name, "showlegend": in_legend, "hovertemplate": "%{x:,.5~g}"}
    return dots([estimate.value], [place], name, marker=look, error_x=bar, **more)


def curves(result: StudyResult, quantity: str) -> Drawn:
    """Draw the learning curves of the winner's test runs, SB3's default beside them.

    Args:
        result: What is known.
        quantity: What is maximised.
    """
    if result.winner is None:
        return "No learning curves of the winner: no trial has been re-evaluated yet."
    pairs = [(result.winner, WINNER)]
    if result.default is not None:
        pairs.append((result.default, DEFAULT))
    traces: list[dict[str, Any]] = []
    for tested, colour in reversed(pairs):
        traces += _band(tested, colour)
    values = [
        e.value for tested, _ in pairs for run in tested.runs for e in run.record.evaluations
    ]
    limits, note = bounds(values)
    broken = sum(tested.n_broken for tested, _ in pairs)
    if broken:
        note = f"{note} {plural(broken, 'run')} broke; the curve ends there.".strip()
    y = axis(f"mean {quantity} of an evaluation", range=limits)
    return Figure(
        traces, layout(420, xaxis=axis("environment steps", rangemode="tozero"), yaxis=y), note
    )


def _band(tested: TestResult, colour: str) -> list[dict[str, Any]]:
    """Return a line for the IQM over seeds, a band for the middle half, every seed faint."""
    by_step: dict[int, list[float]] = {}
    x: list[int | None] = []
    y: list[float | None] = []
    for run in tested.runs:
        for evaluation in run.record.evaluations:
            by_step.setdefault(evaluation.nominal_step, []).append(evaluation.value)
            x.append(evaluation.nominal_step)
            y.append(evaluation.value)
        x.append(None)
        y.append(None)
    steps = sorted(by_step)
    iqm = [float(statistics.iqm(np.asarray(by_step[step]))) for step in steps]
    low, high = ([float(np.quantile(by_step[step], q)) for step in steps] for q in (0.25, 0.75))
    faint = {"color": colour, "width": 1}
    edge = {"color": colour, "width": 0}
    name, hidden = tested.candidate.name, {"hoverinfo": "skip", "showlegend": False}
    middle = "%{y:,.4~g}<extra>" + f"IQM, {name}</extra>"
    return [
        line(x, y, "", line=faint, opacity=0.3, **hidden),
        line([*steps, *reversed(steps)], [*high, *reversed(low)], "", line=edge, fill="toself",
             fillcolor=colour, opacity=0.25, **hidden),
        line(steps, iqm, f"{name} ({plural(len(tested.runs), 'seed')})",
             line={"color": colour, "width": 3}, hovertemplate=middle),
    ]  # fmt: skip
