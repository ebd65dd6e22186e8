"""Pictures of the search: its history and the learning curves of its trials."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from sb3_hpo.report.figures.plotting import (
    DEFAULT,
    FAINT,
    INK,
    OTHERS,
    RANKS,
    WINNER,
    bounds,
    styled,
)
from sb3_hpo.results.trials import is_default_point, record_of, trials_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna
    from optuna.trial import FrozenTrial

    from sb3_hpo.report.figures.plotting import Drawn


def history(
    study: optuna.Study,
    best: Sequence[FrozenTrial],
    names: dict[int, str],
    quantity: str,
) -> Drawn:
    """Draw trial values and the best so far against the environment steps spent.

    Args:
        study: Where all trials are; nothing else may add to it.
        best: Those that have a value to compare, the leader first.
        names: What the trials are called.
        quantity: What is maximised.
    """
    from optuna.visualization import plot_optimization_history

    figure = plot_optimization_history(study, target_name=f"trial value ({quantity})")
    records = [record_of(trial) for trial in trials_of(study)]
    spent = list(accumulate(0 if record is None else record.n_steps for record in records))
    places = spent if spent[-1] else list(range(len(records)))  # other tools record no steps
    figure.for_each_trace(lambda trace: trace.update(x=[places[n] for n in trace.x]))
    figure.update_traces(line_shape="hv", name="best so far", selector={"name": "Best Value"})
    if spent[-1]:
        figure.update_xaxes(
            title_text="environment steps spent, all trials together", tickformat="~s"
        )
    for trial in filter(is_default_point, best):
        figure.add_scatter(
            x=[0, places[-1]], y=[trial.value] * 2, name="default point", mode="lines",
            line={"color": DEFAULT, "dash": "dash"},
        )  # fmt: skip
    figure.add_scatter(
        x=[places[best[0].number]], y=[best[0].value], name=names[best[0].number], mode="markers",
        marker={"symbol": "star", "size": 14, "color": WINNER},
    )  # fmt: skip
    limits, note = bounds(trial.value or 0.0 for trial in best)
    return styled(figure, 400, colorway=[OTHERS, INK], yaxis_range=limits), note


def learning_curves(
    study: optuna.Study,
    best: Sequence[FrozenTrial],
    names: dict[int, str],
    quantity: str,
) -> Drawn:
    """Draw the learning curves of all trials, the best in colours of their own.

    Args:
        study: Where all trials are; nothing else may add to it.
        best: Those that have a value to compare, the leader first.
        names: What the trials are called.
        quantity: What is maximised.
    """
    from optuna.visualization import plot_intermediate_values
    from plotly.graph_objects import Figure

    figure = plot_intermediate_values(study)
    colours = {trial.number: colour for trial, colour in zip(best, RANKS, strict=False)}
    others = [trial for trial in trials_of(study) if trial not in best[:1]]
    colours |= {trial.number: DEFAULT for trial in filter(is_default_point, others)}
    ranks = list(colours)
    numbered = {int(trace.name.removeprefix("Trial")): trace for trace in figure.data}
    # What comes last is drawn on top.
    order = sorted(numbered, key=lambda n: -ranks.index(n) if n in colours else -len(ranks))
    traces = [
        {
            **numbered[number].to_plotly_json(),
            "name": names[number],
            "line": {
                "color": colours.get(number, FAINT),
                "width": 2.5 if number in colours else 1,
            },
            "marker": {"size": 4},
            "showlegend": number in colours,
        }
        for number in order
    ]
    figure = Figure(traces, figure.layout)
    limits, note = bounds(
        value for trial in trials_of(study) for value in trial.intermediate_values.values()
    )
    figure.update_xaxes(title_text="steps of the trial", tickformat="~s")
    figure.update_yaxes(title_text=f"mean {quantity} of an evaluation", range=limits)
    return styled(figure, 460, showlegend=True), note
