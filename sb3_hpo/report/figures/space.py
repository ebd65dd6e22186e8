"""Pictures of the search space: which hyperparameters matter, and where the good values lie.

Each function returns a figure, or one sentence that says why there is none.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from sb3_hpo.report.figures.axes import Axis, shortened
from sb3_hpo.report.figures.plotting import (
    COMPLETE,
    GOOD,
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
from sb3_hpo.results.trials import KWARGS_OVERRIDE, trials_of
from sb3_hpo.utils.formatting import number, plural, readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from sb3_hpo.report.pages.trial_curves import SearchHistory

MIN_TRIALS = 10  # below, a tenth of the trials is none, and importances are chance
_COLUMNS = 3
_ROW_HEIGHT = 235  # pixels
_SLICE_LETTERS = 34  # that fit below a slice
_BELOW_SLICE = 62  # pixels for ticks and title
_NAME_LETTERS = 24  # of a dimension in parallel coordinates
_PARALLEL_LETTERS = 120  # that fit beside each other between all its axes


@dataclass(frozen=True)
class Points:
    """The trials whose parameters are what was trained.

    Attributes:
        trials: COMPLETE ones with a finite value, the best first.
        dimensions: Distributions by name, the most important first if importances are known.
        importances: Shares of the importance by name; empty if there are too few trials.
        n_left_out: COMPLETE trials that were trained with given arguments instead.
    """

    trials: tuple[FrozenTrial, ...]
    dimensions: dict[str, BaseDistribution]
    importances: dict[str, float]
    n_left_out: int

    @property
    def n_best(self) -> int:
        """How many trials are the best tenth."""
        return max(1, len(self.trials) // 10)


def read_points(study: optuna.Study) -> Points:
    """Read the points of the search space that were tried.

    Returns:
        The points. Enqueued configurations are trained as given, whatever was sampled: their
        parameters would mislead.
    """
    complete = [t for t in trials_of(study) if t.state is TrialState.COMPLETE]
    own = [t for t in complete if KWARGS_OVERRIDE not in t.user_attrs]
    finite = [t for t in own if math.isfinite(t.value or 0.0)]
    finite.sort(key=lambda trial: (-(trial.value or 0.0), trial.number))
    dimensions: dict[str, BaseDistribution] = {}
    for trial in finite:
        for name, distribution in trial.distributions.items():
            if not distribution.single():
                dimensions.setdefault(name, distribution)
    importances = _importances(finite, list(dimensions)) if len(finite) >= MIN_TRIALS else {}
    order = [*importances, *(name for name in dimensions if name not in importances)]
    return Points(
        trials=tuple(finite),
        dimensions={name: dimensions[name] for name in order},
        importances=importances,
        n_left_out=len(complete) - len(own),
    )


def _importances(trials: Sequence[FrozenTrial], names: list[str]) -> dict[str, float]:
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(direction="maximize", storage=storage)
    study.add_trials(trials)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    with warnings.catch_warnings():
        # It warns of conditional dimensions with one trial; the page calls all of it rough.
        warnings.simplefilter("ignore")
        return optuna.importance.get_param_importances(study, evaluator=evaluator, params=names)


def importances(points: Points) -> Drawn:
    """Draw which hyperparameters decide whether a trial is among the best tenth.

    Args:
        points: What was tried.
    """
    if not points.importances:
        return (
            f"No importances: they need {MIN_TRIALS} COMPLETE trials of the search space, "
            f"but there are {len(points.trials)}."
        )
    names = list(points.importances)[::-1]
    shares = [100 * points.importances[name] for name in names]
    bars = {
        "type": "bar", "orientation": "h", "x": shares, "y": names, "marker": {"color": COMPLETE},
        "text": [f"{share:.0f} %" if share >= 0.5 else "< 1 %" for share in shares],
        "textposition": "outside", "cliponaxis": False, "hoverinfo": "skip",
    }  # fmt: skip
    x = axis("share of the importance (PED-ANOVA), %", range=[0, max(shares) * 1.12])
    margin = {"l": 64, "r": 24, "t": 8, "b": 52}
    height = 26 * len(names) + 70
    note = f"From {len(points.trials)} COMPLETE trials"
    note += "; below about 50 the order is rough." if len(points.trials) < 50 else "."
    y = axis("", ticksuffix=" ", showgrid=False)
    return Figure([bars], layout(height, xaxis=x, yaxis=y, margin=margin, bargap=0.35), note)


def slices(points: Points, history: SearchHistory) -> Drawn:
    """Draw the trial values over each dimension.

    Args:
        points: What was tried.
    """
    if len(points.trials) < 2 or not points.dimensions:
        return _too_few("slices", points)
    limits, note = bounds([trial.value or 0.0 for trial in points.trials])
    n_rows = math.ceil(len(points.dimensions) / _COLUMNS)
    page = layout(_ROW_HEIGHT * n_rows + 52, margin={"l": 64, "r": 16, "t": 44, "b": 8})
    page["legend"] |= {"y": 1 + 12 / (_ROW_HEIGHT * n_rows)}
    data: list[dict[str, Any]] = []
    for index, (name, distribution) in enumerate(points.dimensions.items()):
        scale = Axis.of(distribution)
        suffix = "" if index == 0 else str(index + 1)
        row, column = divmod(index, _COLUMNS)
        bottom, top = 1 - (row + 1) / n_rows, 1 - row / n_rows
        title = f"trial value ({history.quantity})" if column == 0 else ""
        y = axis(title, range=limits, showticklabels=column == 0, anchor=f"x{suffix}")
        y["domain"] = [bottom + _BELOW_SLICE / (_ROW_HEIGHT * n_rows), top]
        page[f"xaxis{suffix}"] = _slice_axis(name, scale, column) | {"anchor": f"y{suffix}"}
        page[f"yaxis{suffix}"] = y if index == 0 else y | {"matches": "y"}
        axes = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "showlegend": index == 0}
        data += [{**trace, **axes} for trace in _slice(points, history, name, scale, limits[0])]
    return Figure(data, page, f"{_left_out(points)} {note}".strip())


def _slice_axis(name: str, scale: Axis, column: int) -> dict[str, Any]:
    room = _SLICE_LETTERS // max(1, len(scale.choices))
    left = column / _COLUMNS + (0.0 if column == 0 else 0.02)
    return axis(
        shortened(name, _SLICE_LETTERS),
        domain=[left, (column + 1) / _COLUMNS - 0.01],
        range=scale.padded,
        tickvals=scale.ticks,
        ticktext=[shortened(label, room) for label in scale.labels],
        tickangle=0,
    )


def _too_few(what: str, points: Points) -> str:
    return (
        f"No {what}: they need two COMPLETE trials of the search space, but there are "
        f"{len(points.trials)}."
    )


def _left_out(points: Points) -> str:
    if not points.n_left_out:
        return ""
    return (
        f"Without {plural(points.n_left_out, 'trial')} trained with given arguments (SB3's "
        "default, enqueued files) instead of sampled ones."
    )


def _groups(points: Points, history: SearchHistory) -> list[tuple[str, str, list[FrozenTrial]]]:
    """Return name, colour and trials of: the rest, the best tenth, the leader."""
    leader = [trial for trial in points.trials if trial.number == history.leader]
    best = [t for t in points.trials[: points.n_best] if t.number != history.leader]
    rest = [t for t in points.trials[points.n_best :] if t.number != history.leader]
    name = "winner" if history.winner_known else "best so far"
    groups = [("other complete trials", COMPLETE, rest), ("best tenth", GOOD, best)]
    groups.append((f"trial {history.leader} ({name})", WINNER, leader))
    return [group for group in groups if group[2]]


def _slice(
    points: Points, history: SearchHistory, name: str, scale: Axis, low: float
) -> list[dict[str, Any]]:
    traces = []
    for label, colour, group in _groups(points, history):
        having = [trial for trial in group if name in trial.params]
        text = [
            f"trial {t.number}: {number(t.value or 0.0)}<br>{name} = {readable(t.params[name])}"
            for t in having
        ]
        mark = {"color": colour, "size": 7, "opacity": 0.6}
        if colour == WINNER:
            mark = {"color": colour, "size": 12, "symbol": "star"}
        traces.append(
            dots([scale.place(t.params[name]) + scale.jitter(t.number) for t in having],
                 [max(t.value or 0.0, low) for t in having], label, marker=mark, text=text,
                 hovertemplate="%{text}<extra></extra>", cliponaxis=False, legendgroup=label)
        )  # fmt: skip
    return traces


def parallel(points: Points, history: SearchHistory) -> Drawn:
    """Draw each trial as a line across all dimensions, up to its value.

    Args:
        points: What was tried.
    """
    if len(points.trials) < 2 or not points.dimensions:
        return _too_few("parallel coordinates", points)
    limits, note = bounds([trial.value or 0.0 for trial in points.trials], room=0)
    scales = {name: Axis.of(d) for name, d in points.dimensions.items()}
    data: list[dict[str, Any]] = []
    looks = {COMPLETE: (1, 0.3), GOOD: (1.8, 0.8), WINNER: (3.5, 1.0)}
    for label, colour, group in _groups(points, history):
        x: list[float | None] = []
        y: list[float | None] = []
        text: list[str] = []
        for trial in group:
            value = (max(trial.value or 0.0, limits[0]) - limits[0]) / (limits[1] - limits[0])
            # A line goes straight past the axes of dimensions that its trial does not have.
            own = [(i, n) for i, n in enumerate(scales) if n in trial.params]
            x += [*(i for i, _ in own), len(scales), None]
            y += [*(_share(scales[name], trial, name) for _, name in own), value, None]
            text += [f"trial {trial.number}: {number(trial.value or 0.0)}"] * (len(own) + 2)
        width, opacity = looks[colour]
        data.append(line(x, y, label, line={"color": colour, "width": width}, opacity=opacity,
                         text=text, hovertemplate="%{text}<extra></extra>"))  # fmt: skip
    page = _parallel_page([*scales], list(scales.values()), limits)
    return Figure(data, page, note)


def _share(scale: Axis, trial: FrozenTrial, name: str) -> float:
    return scale.share(scale.place(trial.params[name]) + scale.jitter(trial.number))


def _parallel_page(
    names: list[str], scales: Sequence[Axis], limits: Sequence[float]
) -> dict[str, Any]:
    places = list(range(len(names) + 1))
    rule = {"type": "line", "y0": 0, "y1": 1, "layer": "below", "line": {"color": "#b8bec6"}}
    letters = max(4, _PARALLEL_LETTERS // len(places))
    marks = [
        (x, scale.share(tick), shortened(label, letters))
        for x, scale in enumerate(scales)
        for tick, label in zip(scale.ticks, scale.labels, strict=True)
    ]
    marks += [(len(names), 0.0, number(limits[0])), (len(names), 1.0, number(limits[1]))]
    look = {
        "showarrow": False,
        "xanchor": "left",
        "xshift": 3,
        "bgcolor": "rgba(255,255,255,0.75)",
    }
    look |= {"font": {"size": 11, "color": INK}, "borderpad": 0}
    x_axis = axis("", tickvals=places, tickangle=30, showgrid=False, ticklabeloverflow="allow")
    x_axis["ticktext"] = [*(shortened(name, _NAME_LETTERS) for name in names), "trial value"]
    x_axis["range"] = [-0.1, len(names) * 1.09 + 0.1]
    return layout(
        480,
        xaxis=x_axis,
        yaxis={"visible": False, "range": [-0.04, 1.04]},
        shapes=[{**rule, "x0": x, "x1": x} for x in places],
        annotations=[{"x": x, "y": y, "text": label, **look} for x, y, label in marks],
        margin={"l": 64, "r": 16, "t": 40, "b": 110},
    )
