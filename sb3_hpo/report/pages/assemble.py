"""The report of a study: `report.md` for a terminal and `report.html` with pictures."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from sb3_hpo.report.figures import search, space
from sb3_hpo.report.pages.answer import answer_section, flat, scores_section
from sb3_hpo.report.pages.costs import cost_section, setting_section
from sb3_hpo.report.pages.document import Block, Code, Items, Picture, Section, Table, Text
from sb3_hpo.report.pages.html import to_html
from sb3_hpo.report.pages.markdown import to_markdown
from sb3_hpo.report.pages.trial_curves import read_history
from sb3_hpo.results.trials import best_trials, record_of
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
    from sb3_hpo.report.pages.trial_curves import SearchHistory
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
    title = study.study_name
    if config is not None:
        title += f": {config.algo} on {config.env}"
    sections = make_sections(study, config, result, advice)
    paths = [run_dir / "report.md"]
    write_atomically(paths[0], to_markdown(title, sections))
    if importlib.util.find_spec("plotly") is not None:
        paths.append(run_dir / PAGE)
        write_atomically(paths[1], to_html(title, sections, plotly_js()))
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
    history = read_history(study, result, metric=None if config is None else config.metric)
    lines = tuple(item.text for item in advice)
    return [
        answer_section(study, config, result, history),
        scores_section(result, history),
        _search_section(study, history),
        _space_section(study, history),
        Section("Advice", (Items(lines) if lines else Text("Nothing to advise."),)),
        cost_section(study, history, result),
        setting_section(study, config, result),
        *([] if config is None else [_use_section()]),
    ]


def _search_section(study: optuna.Study, history: SearchHistory) -> Section:
    blocks: list[Block] = [
        Picture(
            "History",
            search.value_history(history),
            "Trials in order of completion. A pruned trial is drawn at its last evaluation, "
            "which does not compare with the trial value of a complete one.",
        ),
        Picture(
            "Learning curves of all trials",
            search.trial_curves(history),
            "One training seed each; the best by trial value are named.",
        ),
    ]
    if best := best_trials(study, _N_BEST):
        curves = {curve.number: curve for curve in history.curves}
        rows = []
        for trial in best:
            curve = curves[trial.number]
            last = number(curve.values[-1]) if curve.values else "-"
            rows.append((history.name(curve), number(trial.value or 0.0), last))
        blocks.append(Table(("best trials", "trial value", "last evaluation"), tuple(rows)))
        blocks += _compared(best, history)
    return Section("The search", tuple(blocks))


def _compared(trials: Sequence[FrozenTrial], history: SearchHistory) -> list[Block]:
    """Return the arguments of trials side by side."""
    columns = []
    for trial in trials:
        record = record_of(trial)
        kwargs = trial.params if record is None else record.kwargs
        # What is not passed to SB3 has its default; parameters of another tool mean what they may.
        columns.append((dict(flat(kwargs)), "-" if record is None else "default"))
    names = list(dict.fromkeys(name for column, _ in columns for name in column))
    rows = tuple((n, *(column.get(n, absent) for column, absent in columns)) for n in names)
    header = ("argument", *(history.candidate_name(trial.number) for trial in trials))
    return [Table(header, rows)] if rows else []


def _space_section(study: optuna.Study, history: SearchHistory) -> Section:
    points = space.read_points(study)
    shares = tuple((name, f"{100 * share:.0f} %") for name, share in points.importances.items())
    blocks: list[Block] = [
        Picture(
            "Importances",
            space.importances(points),
            "How much a hyperparameter decides whether a trial is among the best tenth.",
            Table(("hyperparameter", "importance"), shares),
        ),
        Picture(
            "Slices",
            space.slices(points, history),
            "Each COMPLETE trial, over the whole range of each dimension.",
        ),
        Picture(
            "Parallel coordinates",
            space.parallel(points, history),
            "Each line is a COMPLETE trial, from its hyperparameters to its value at the right.",
        ),
    ]
    return Section("The search space", tuple(blocks))


def _use_section() -> Section:
    commands = """\
python -m sb3_hpo.train best.yaml --seeds 3      # train the answer again, evaluate, save
python train_best.py                             # the same with Stable-Baselines3 alone
python -m sb3_hpo.optimize --config config.yaml  # go on with this study, or repeat it"""
    return Section("Use it", (Text("In the run folder:"), Code(commands)))
