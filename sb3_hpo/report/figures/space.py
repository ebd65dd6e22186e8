"""Pictures of the search space: which hyperparameters matter, and where the good values lie."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import optuna
from optuna.distributions import CategoricalDistribution

from sb3_hpo.report.figures.plotting import (
    GOOD,
    OTHERS,
    WINNER,
    bounds,
    study_of,
    styled,
)
from sb3_hpo.results.trials import KWARGS_OVERRIDE, best_trials
from sb3_hpo.utils.formatting import number, plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from sb3_hpo.report.figures.plotting import Drawn

MIN_TRIALS = 10  # below, a tenth of the trials is none, and importances are chance
_COLUMNS = 3
_ROW_HEIGHT = 235  # pixels


@dataclass(frozen=True)
class Points:
    """The trials whose parameters are what was trained.

    Attributes:
        trials: Those that have a finite value to compare, the best first.
        dimensions: Distributions by name, the most important first if importances are known.
        importances: Shares of the importance by name; empty if there are too few trials.
        n_left_out: Trials that were trained with given arguments instead.
    """

    trials: tuple[FrozenTrial, ...]
    dimensions: dict[str, BaseDistribution]
    importances: dict[str, float]
    n_left_out: int


def read_points(study: optuna.Study) -> Points:
    """Read the points of the search space that were tried.

    Returns:
        The points. Enqueued configurations are trained as given, whatever was sampled: their
        parameters would mislead.
    """
    complete = best_trials(study)
    own = [t for t in complete if KWARGS_OVERRIDE not in t.user_attrs]
    finite = [t for t in own if math.isfinite(t.value or 0.0)]
    dimensions: dict[str, BaseDistribution] = {}
    for trial in finite:
        for name, distribution in trial.distributions.items():
            if not distribution.single():
                dimensions.setdefault(name, distribution)
    importances: dict[str, float] = {}
    if len(finite) >= MIN_TRIALS:
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        with warnings.catch_warnings():
            # It warns of conditional dimensions with one trial; the page calls all of it rough.
            warnings.simplefilter("ignore")
            importances = optuna.importance.get_param_importances(
                study_of(finite), evaluator=evaluator, params=list(dimensions)
            )
    return Points(
        trials=tuple(finite),
        dimensions={name: dimensions[name] for name in importances} | dimensions,
        importances=importances,
        n_left_out=len(complete) - len(own),
    )


def importances(points: Points) -> Drawn:
    """Draw which hyperparameters decide whether a trial is among the best tenth.

    Args:
        points: What was tried; with importances.
    """
    from plotly.graph_objects import Bar, Figure

    shares = dict(reversed(points.importances.items()))  # plotly puts the first one lowest
    bars = Bar(
        x=list(shares.values()), y=list(shares), orientation="h", marker_color=OTHERS,
        texttemplate="%{x:.0%}", textposition="outside", cliponaxis=False, hoverinfo="skip",
    )  # fmt: skip
    figure = styled(Figure(bars), 26 * len(shares) + 110, xaxis_tickformat=".0%", margin_r=40)
    note = f"From {len(points.trials)} COMPLETE trials"
    note += "; below about 50 the order is rough." if len(points.trials) < 50 else "."
    return figure.update_xaxes(title_text="importance (PED-ANOVA)"), note


def slices(points: Points, leader: int | None, quantity: str) -> Drawn:
    """Draw the trial values over the whole range of each dimension.

    Args:
        points: What was tried: at least two trials, and something to choose.
        leader: Number of the winner, or of the best trial while there is no winner.
        quantity: What is maximised.
    """
    from optuna.visualization import plot_slice
    from plotly.subplots import make_subplots

    study = study_of(points.trials)
    limits, note = bounds(trial.value or 0.0 for trial in points.trials)
    n_rows = math.ceil(len(points.dimensions) / _COLUMNS)
    figure = make_subplots(rows=n_rows, cols=_COLUMNS, shared_yaxes="all", horizontal_spacing=0.05,
                           vertical_spacing=62 / (_ROW_HEIGHT * n_rows))  # fmt: skip
    dots = []
    for place, name in enumerate(points.dimensions):
        own = plot_slice(study, params=[name])
        dots.append(_marked(own.data[0], points.trials, leader))
        # Plain: plotly's updates search all cells for each.
        figure.layout[f"xaxis{place + 1}"] = {
            **figure.layout[f"xaxis{place + 1}"].to_plotly_json(),
            **own.layout.xaxis.to_plotly_json(),
            "range": _ends(points.trials, name),
            "nticks": 5,
        }
    places = range(len(dots))
    figure.add_traces(
        dots, [n // _COLUMNS + 1 for n in places], [n % _COLUMNS + 1 for n in places]
    )
    figure.update_yaxes(title_text=f"trial value ({quantity})", col=1)
    if points.n_left_out:
        note = (
            f"Without {plural(points.n_left_out, 'trial')} trained with given arguments (SB3's "
            f"default, enqueued files) instead of sampled ones. {note}"
        )
    figure.update_yaxes(range=limits)
    return styled(figure, _ROW_HEIGHT * n_rows + 52), note


def _marked(dots: Any, best: Sequence[FrozenTrial], leader: int | None) -> Any:
    """Mark the leader and the best tenth among the dots that Optuna has drawn."""
    ranks = list(dots.marker.color)  # Optuna colours by number: here the rank
    n_best = max(1, len(best) // 10)
    shown = [best[rank] for rank in ranks]
    leads = [trial.number == leader for trial in shown]
    look = {
        "color": [
            WINNER if star else GOOD if rank < n_best else OTHERS
            for rank, star in zip(ranks, leads, strict=True)
        ],
        "symbol": ["star" if star else "circle" for star in leads],
        "size": [12 if star else 7 for star in leads],
        "showscale": False,
    }
    text = [f"trial {trial.number}: {number(trial.value or 0.0)}" for trial in shown]
    hover = "%{text}<br>%{x}<extra></extra>"
    return dots.update(text=text, hovertemplate=hover, cliponaxis=False, marker=look)


def _ends(trials: Sequence[FrozenTrial], name: str) -> list[float] | None:
    """Return the ends of all ranges that a number had, as plotly wants them on its scale."""
    ranges: list[Any] = [t.distributions[name] for t in trials if name in t.distributions]
    if any(isinstance(item, CategoricalDistribution) for item in ranges):
        return None
    ends = [min(item.low for item in ranges), max(item.high for item in ranges)]
    if not any(item.log for item in ranges):
        return ends
    return list(map(math.log10, ends)) if ends[0] > 0 else None


def parallel(points: Points, quantity: str) -> Drawn:
    """Draw each trial as a line across all dimensions.

    Args:
        points: What was tried: at least two trials, and something to choose.
        quantity: What is maximised.
    """
    from optuna.visualization import plot_parallel_coordinate

    limits, note = bounds(trial.value or 0.0 for trial in points.trials)
    # The best are drawn last, on top; an outlier would leave all others one colour.
    shown = [t for t in reversed(points.trials) if (t.value or 0.0) >= limits[0]]
    names = [name for name in points.dimensions if any(name in trial.params for trial in shown)]
    figure = plot_parallel_coordinate(
        study_of(shown), params=names, target_name=f"trial value ({quantity})"
    )
    return styled(figure, 480), note
