"""The report of a study: `report.md` for a terminal and `report.html` with pictures."""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import TYPE_CHECKING

from sb3_hpo.report.figures import search, space
from sb3_hpo.report.figures.plotting import study_of
from sb3_hpo.report.pages.answer import answer_section, flat, scores_section
from sb3_hpo.report.pages.costs import cost_section, setting_section
from sb3_hpo.report.pages.document import Block, Code, Items, Picture, Section, Table, Text
from sb3_hpo.report.pages.html import to_html
from sb3_hpo.report.pages.markdown import to_markdown
from sb3_hpo.report.terminal import summary
from sb3_hpo.results.trials import (
    arguments_of,
    best_trials,
    is_default_point,
    record_of,
    trials_of,
)
from sb3_hpo.utils.errors import check_installed
from sb3_hpo.utils.files import write_atomically
from sb3_hpo.utils.formatting import number

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import optuna
    from optuna.trial import FrozenTrial

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.report.advice.evidence import Advice
    from sb3_hpo.results.study_result import StudyResult

PAGE = "report.html"
_N_BEST = 5


def write_pages(
    run_dir: Path,
    study: optuna.Study,
    config: StudyConfig | None,
    result: StudyResult,
    advice: Sequence[Advice],
) -> list[Path]:
    """Write the report of a study, also of a running one.

    Args:
        run_dir: Where to; the folder must exist.
        config: Its configuration; None for a study of another tool.
        result: What is known.
        advice: What to do next.

    Returns:
        The files: `report.md`, and `report.html` if plotly is installed.
    """
    sections = make_sections(study, config, result, advice)
    paths = [run_dir / "report.md"]
    write_atomically(paths[0], to_markdown(study.study_name, sections))
    if importlib.util.find_spec("plotly") is not None:
        paths.append(run_dir / PAGE)
        write_atomically(paths[1], to_html(study.study_name, sections, plotly_js()))
    return paths


def plotly_js() -> str:
    """Return the source of plotly.js.

    Raises:
        UserError: plotly is not installed.
    """
    check_installed("report.html: it", ["plotly"], extra="report")
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def make_sections(
    study: optuna.Study, config: StudyConfig | None, result: StudyResult, advice: Sequence[Advice]
) -> list[Section]:
    """Return what the report says, in the order that a reader wants.

    Args:
        config: Its configuration; None for a study of another tool.
        result: What is known.
        advice: What to do next.
    """
    quantity = (None if config is None else config.metric) or "return"
    best = best_trials(study)
    leader = best[0].number if best else None
    if result.winner is not None:
        leader = result.winner.candidate.trial
    rank = "best so far" if result.winner is None else "winner"
    lines = tuple(item.text for item in advice)
    how = ""
    if config is not None:
        how = (
            f"`{config.algo}` on `{config.env}`, sampler {config.sampler}, pruner "
            f"{config.pruner}: "
        )
    return [
        answer_section(study, config, result),
        scores_section(study, result, quantity),
        _search_section(study, f"{how}{summary(result)}.", leader, rank, quantity),
        _space_section(study, leader, quantity),
        Section("Advice", (Items(lines) if lines else Text("Nothing to advise."),)),
        cost_section(study, result),
        setting_section(study, config, result),
        *([] if config is None else [_use_section()]),
    ]


def _names(study: optuna.Study, leader: int | None, rank: str) -> dict[int, str]:
    """Return what the report calls each trial."""
    names = {trial.number: f"trial {trial.number}" for trial in trials_of(study)}
    names |= {t.number: "default point" for t in trials_of(study) if is_default_point(t)}
    return names if leader is None else {**names, leader: f"trial {leader} ({rank})"}


def _search_section(
    study: optuna.Study, told: str, leader: int | None, rank: str, quantity: str
) -> Section:
    """Tell and show the search.

    Args:
        told: What it spent and on what.
    """
    study = study_of(trials_of(study))  # a running one would grow meanwhile
    names, best = _names(study, leader, rank), best_trials(study)
    ranked = sorted(best, key=lambda trial: trial.number != leader)
    blocks: list[Block] = []
    if best:
        draw = partial(search.history, study, ranked, names, quantity)
        explanation = "COMPLETE trials in order of their numbers, and the best value so far."
        blocks.append(Picture("History", draw, explanation))
    if any(trial.intermediate_values for trial in trials_of(study)):
        draw = partial(search.learning_curves, study, ranked, names, quantity)
        explanation = "The best by trial value are named; pruned trials end early."
        blocks.append(Picture("Learning curves of all trials", draw, explanation))
    if best:
        rows = tuple((names[t.number], number(t.value or 0.0), _last(t)) for t in best[:_N_BEST])
        blocks.append(Table(("best trials", "trial value", "last evaluation"), rows))
        blocks += _compared(best[:_N_BEST])
    shown = {"Best trial value": best[:1], "The default point's": filter(is_default_point, best)}
    values = [
        f"{what}: {number(trial.value or 0.0)}, of trial {trial.number}."
        for what, trials in shown.items()
        for trial in trials
    ]
    told = " ".join([told, *values]) if blocks else "No trial has reported anything yet."
    return Section("The search", (Text(told), *blocks))


def _last(trial: FrozenTrial) -> str:
    step = trial.last_step
    return "-" if step is None else number(trial.intermediate_values[step])


def _compared(trials: Sequence[FrozenTrial]) -> list[Block]:
    """Return the arguments of trials side by side."""
    columns = [dict(flat(arguments_of(trial))) for trial in trials]
    # What is not passed to SB3 has its default; parameters of another tool mean what they may.
    absent = ["-" if record_of(trial) is None else "default" for trial in trials]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = tuple(
        (name, *(column.get(name, other) for column, other in zip(columns, absent, strict=True)))
        for name in names
    )
    header = ("argument", *(f"trial {trial.number}" for trial in trials))
    return [Table(header, rows)] if rows else []


def _space_section(study: optuna.Study, leader: int | None, quantity: str) -> Section:
    points = space.read_points(study)
    n, blocks = len(points.trials), list[Block]()
    if points.importances:
        shares = tuple((name, f"{100 * v:.0f} %") for name, v in points.importances.items())
        explanation = "How much a hyperparameter decides whether a trial is among the best tenth."
        table = Table(("hyperparameter", "importance"), shares)
        blocks.append(
            Picture("Importances", partial(space.importances, points), explanation, table)
        )
    else:
        blocks.append(
            Text(
                f"No importances: they need {space.MIN_TRIALS} COMPLETE trials of the search "
                f"space, but there are {n}."
            )
        )
    if n >= 2 and points.dimensions:
        draw = partial(space.slices, points, leader, quantity)
        explanation = (
            "Each COMPLETE trial, over the whole range of each dimension. The star is the winner, "
            "or the best so far; green is the best tenth."
        )
        blocks.append(Picture("Slices", draw, explanation))
        draw = partial(space.parallel, points, quantity)
        explanation = (
            "Each line is a COMPLETE trial, from its value at the left across its hyperparameters."
        )
        blocks.append(Picture("Parallel coordinates", draw, explanation))
    return Section("The search space", tuple(blocks))


def _use_section() -> Section:
    commands = """\
python -m sb3_hpo.train best.yaml --seeds 3      # train the answer again, evaluate, save
python train_best.py                             # the same with Stable-Baselines3 alone
python -m sb3_hpo.optimize --config config.yaml  # go on with this study, or repeat it"""
    return Section("Use it", (Text("In the run folder:"), Code(commands)))
