"""Pictures of the re-evaluation: scores of race and test, and the winner's learning curves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sb3_hpo.report.figures.plotting import DEFAULT, INK, OTHERS, WINNER, bounds, styled
from sb3_hpo.scoring import statistics
from sb3_hpo.utils.formatting import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plotly.graph_objects import Figure

    from sb3_hpo.report.figures.plotting import Drawn
    from sb3_hpo.results.study_result import StudyResult, TestResult
    from sb3_hpo.scoring.statistics import Estimate

_ROW, _GAP, _AROUND = 46, 92, 114  # pixels: of a row, between panels, above and below all


@dataclass(frozen=True)
class _Row:
    """One candidate: its seeds, and what is estimated from them."""

    label: str
    colour: str
    seeds: Sequence[float]
    estimate: Estimate | None
    trial_value: float | None


def scores(result: StudyResult, trial_values: dict[int | None, float], quantity: str) -> Drawn:
    """Draw the scores of test and race: every seed a dot, intervals, the trial values.

    Args:
        result: What is known: a test, or a race.
        trial_values: What the study maximised, by trial.
        quantity: What is maximised.
    """
    from plotly.subplots import make_subplots

    tested = [_test_row(t, t is result.winner) for t in (result.winner, result.default) if t]
    winner = None if result.winner is None else result.winner.candidate.trial
    raced = [
        _race_row(candidate.name, runs, trial_values.get(candidate.trial),
                  chosen=winner is not None and candidate.trial == winner)
        for candidate, runs in result.raced
    ]  # fmt: skip
    titles = {
        "<b>Test</b>": (tested, f"mean {quantity} of a final policy"),
        "<b>Race</b>": (raced, f"score of a learning curve ({quantity})"),
    }  # fmt: skip
    panels = {title: panel for title, panel in titles.items() if panel[0]}
    heights = [_ROW * len(rows) for rows, _ in panels.values()]
    height = sum(heights) + _GAP * (len(panels) - 1)
    figure = make_subplots(
        rows=len(panels), row_heights=heights, subplot_titles=list(panels),
        vertical_spacing=_GAP / height if len(panels) > 1 else 0,
    )  # fmt: skip
    notes = [_draw_panel(figure, i, *panel) for i, panel in enumerate(panels.values(), 1)]
    broken = sum(not math.isfinite(score) for _, runs in result.raced for score in runs)
    if broken:
        notes.append(f"{plural(broken, 'race run')} broke without a score.")
    figure.update_annotations(x=0, xanchor="left", font_size=13)
    styled(figure, height + _AROUND, margin_t=62, legend_y=1 + 26 / height)
    return figure, " ".join(filter(None, notes))


def _test_row(tested: TestResult, chosen: bool) -> _Row:
    return _Row(
        label=f"{tested.candidate.name} (winner)" if chosen else tested.candidate.name,
        colour=WINNER if chosen else DEFAULT,
        seeds=statistics.seed_means(tested.scores).tolist(),
        estimate=tested.iqm,
        trial_value=tested.candidate.trial_value,
    )


def _race_row(
    name: str, runs: Sequence[float], trial_value: float | None, *, chosen: bool
) -> _Row:
    seeds = [score for score in runs if math.isfinite(score)]
    whole = len(seeds) == len(runs)
    return _Row(
        label=f"{name} (winner)" if chosen else name,
        colour=WINNER if chosen else OTHERS,
        seeds=seeds,
        estimate=statistics.Estimate(float(np.mean(seeds))) if whole else None,
        trial_value=trial_value,
    )


def _draw_panel(figure: Figure, row: int, rows: Sequence[_Row], x_title: str) -> str:
    """Draw candidates below each other, and return what to say of the axis."""
    known = [value for r in rows for value in (*r.seeds, r.trial_value) if value is not None]
    limits, note = bounds(known)
    for marks in _marks(rows, limits[0]):
        figure.add_scatter(**marks, mode="markers", cliponaxis=False, showlegend=row == 1,
                           row=row, col=1)  # fmt: skip
    figure.update_xaxes(title_text=x_title, range=limits, row=row, col=1)
    figure.update_yaxes(
        range=[len(rows) - 0.5, -0.5], tickvals=list(range(len(rows))),
        ticktext=[r.label for r in rows], showgrid=False, zeroline=False, row=row, col=1,
    )  # fmt: skip
    return note


def _marks(rows: Sequence[_Row], low: float) -> list[dict[str, Any]]:
    """Return the marks of a panel; what lies below its axis is drawn at the edge."""
    seeds = [(score, place, row.colour) for place, row in enumerate(rows) for score in row.seeds]
    # Golden-ratio steps spread dots that would hide each other, without chance.
    jitter = [((0.618 * i) % 1 - 0.5) * 0.36 for i in range(len(seeds))]
    sure = [(row.estimate, place, row.colour) for place, row in enumerate(rows) if row.estimate]
    ends = [(e.value, *(e.interval or (e.value, e.value))) for e, _, _ in sure]
    valued = [(row.trial_value, place) for place, row in enumerate(rows)]
    known = [(value, place) for value, place in valued if value is not None]
    hover = {"hovertemplate": "%{customdata:,.5~g}<extra></extra>"}
    return [
        {
            "name": "one seed",
            "x": [max(score, low) for score, _, _ in seeds],
            "y": [place + shift for (_, place, _), shift in zip(seeds, jitter, strict=True)],
            "customdata": [score for score, _, _ in seeds],
            "marker": {"size": 7, "opacity": 0.5, "color": [colour for *_, colour in seeds]},
            **hover,
        },
        {
            "name": "estimate; the bar is a 95 % interval",
            "x": [value for value, _, _ in ends],
            "y": [place for _, place, _ in sure],
            "error_x": {
                "array": [high - value for value, _, high in ends],
                "arrayminus": [value - lowest for value, lowest, _ in ends],
                "color": INK,
                "thickness": 2,
            },
            "marker": {"symbol": "diamond", "size": 10, "color": [colour for *_, colour in sure]},
            "hovertemplate": "%{x:,.5~g}<extra></extra>",
        },
        {
            "name": "trial value, from the search",
            "x": [max(value, low) for value, _ in known],
            "y": [place for _, place in known],
            "customdata": [value for value, _ in known],
            "marker": {"symbol": "line-ns-open", "size": 18, "color": INK, "line_width": 2},
            **hover,
        },
    ]


def curves(result: StudyResult, quantity: str) -> Drawn:
    """Draw the learning curves of the winner's test runs, SB3's default beside them.

    Args:
        result: What is known, with a test.
        quantity: What is maximised.
    """
    from plotly.graph_objects import Figure

    figure = Figure()
    pairs = [(result.default, DEFAULT), (result.winner, WINNER)]
    shown = [(tested, colour) for tested, colour in pairs if tested is not None]
    for tested, colour in shown:
        figure.add_traces(_curves(tested, colour))
    limits, note = bounds(
        e.value for tested, _ in shown for run in tested.runs for e in run.record.evaluations
    )
    broken = sum(tested.n_broken for tested, _ in shown)
    if broken:
        note = f"{note} {plural(broken, 'run')} broke; the curve ends there.".strip()
    figure.update_xaxes(title_text="environment steps", tickformat="~s", rangemode="tozero")
    figure.update_yaxes(title_text=f"mean {quantity} of an evaluation", range=limits)
    return styled(figure, 420), note


def _curves(tested: TestResult, colour: str) -> list[dict[str, Any]]:
    """Return a line for the IQM over seeds, a band for the middle half, every seed faint."""
    by_step: dict[int, list[float]] = {}
    for run in tested.runs:
        for evaluation in run.record.evaluations:
            by_step.setdefault(evaluation.nominal_step, []).append(evaluation.value)
    steps = sorted(by_step)
    iqm = [float(statistics.iqm(np.asarray(by_step[step]))) for step in steps]
    low, high = ([float(np.quantile(by_step[step], q)) for step in steps] for q in (0.25, 0.75))
    hidden = {"hoverinfo": "skip", "showlegend": False, "mode": "lines"}
    seeds = [
        {
            "x": [evaluation.nominal_step for evaluation in run.record.evaluations],
            "y": [evaluation.value for evaluation in run.record.evaluations],
            "line": {"color": colour, "width": 1},
            "opacity": 0.3,
            **hidden,
        }
        for run in tested.runs
    ]
    band = {
        "x": [*steps, *reversed(steps)],
        "y": [*high, *reversed(low)],
        "line": {"width": 0},
        "fill": "toself",
        "fillcolor": colour,
        "opacity": 0.25,
        **hidden,
    }
    middle = {
        "x": steps,
        "y": iqm,
        "name": f"{tested.candidate.name} ({plural(len(tested.runs), 'seed')})",
        "mode": "lines",
        "line": {"color": colour, "width": 3},
        "hovertemplate": "%{y:,.4~g}<extra>IQM</extra>",
    }
    return [*seeds, band, middle]
