"""The answer, printed and written with everything that a user takes home."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sb3_hpo.export.recipe import BEST, Recipe, recipe_of, write_recipe
from sb3_hpo.export.script import SCRIPT, training_script
from sb3_hpo.export.zoo_entry import ZOO, zoo_yaml
from sb3_hpo.report.advice.rules import advise
from sb3_hpo.report.pages.assemble import PAGE, write_pages
from sb3_hpo.report.terminal import print_result
from sb3_hpo.results.trials import best_trials, record_of, trials_of
from sb3_hpo.utils.console import echo, relative_path
from sb3_hpo.utils.errors import how_to_install
from sb3_hpo.utils.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import optuna
    from rich.console import Console

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.results.study_result import StudyResult, TestResult
    from sb3_hpo.scoring.statistics import Estimate


def write_result(
    run_dir: Path,
    study: optuna.Study,
    config: StudyConfig,
    result: StudyResult,
    model: tuple[str, str],
) -> list[Path]:
    """Write everything that a user takes home.

    Args:
        result: What is known.
        model: Names of policy and device that training chooses.

    Returns:
        The files written.
    """
    recipe = make_recipe(study, config, result)
    files = []
    if recipe is not None:
        write_recipe(run_dir / BEST, recipe)
        write_atomically(run_dir / SCRIPT, training_script(recipe, *model))
        write_atomically(run_dir / ZOO, zoo_yaml(recipe, *model))
        files = [run_dir / name for name in (BEST, SCRIPT, ZOO)]
    return [*files, *write_pages(run_dir, study, config, result, advise(study, config, result))]


def make_recipe(study: optuna.Study, config: StudyConfig, result: StudyResult) -> Recipe | None:
    """Make the recipe of the answer: the tested winner, or the best trial before there is one.

    Args:
        result: What is known.

    Returns:
        The recipe, or None while there is nothing to be trained again.
    """
    tested = result.winner
    if tested is None:
        best = [trial for trial in best_trials(study) if record_of(trial) is not None]
        return recipe_of(study, config, best[0]) if best else None
    winner = tested.candidate
    trial = None if winner.trial is None else trials_of(study)[winner.trial]
    trained = None if trial is None else record_of(trial)
    return Recipe(
        config=config.training(),
        kwargs=winner.kwargs,
        root_seed=config.seed,
        study=study.study_name,
        trial=winner.trial,
        trial_value=winner.trial_value,
        params={} if trial is None else dict(trial.params),
        seed=None if trained is None else trained.seed,
        versions=dict(tested.runs[0].record.versions),
        reevaluated=_plain(tested, result),
    )


def _plain(tested: TestResult, result: StudyResult) -> dict[str, Any]:
    median = tested.median_run
    values: dict[str, Any] = {
        "iqm": tested.iqm.value,
        "iqm_interval": _ends(tested.iqm),
        "mean": tested.mean,
        "worst_seed": tested.worst,
        "n_seeds": len(tested.runs),
        "n_timesteps": tested.n_steps,
        "n_episodes": tested.n_episodes[0],  # at least
        "n_broken": tested.n_broken,
        "optimism": result.optimism,
        "best_model_is_median_test_seed": None if median is None else median.record.seed,
    }
    if result.default is not None and result.improvement is not None:
        values["default_iqm"] = result.default.iqm.value
        values["default_iqm_interval"] = _ends(result.default.iqm)
        values["default_n_seeds"] = len(result.default.runs)
        values["default_n_timesteps"] = result.default.n_steps
        values["probability_of_improvement"] = result.improvement.value
    return values


def _ends(estimate: Estimate) -> list[float] | None:
    return None if estimate.interval is None else list(estimate.interval)


def deliver(
    console: Console,
    run_dir: Path,
    study: optuna.Study,
    config: StudyConfig,
    result: StudyResult,
    model: tuple[str, str],
) -> None:
    """Print the answer and write its files.

    Args:
        console: Where to print.
        result: What is known.
        model: Names of policy and device that training chooses.
    """
    print_result(console, study, result)
    names = [path.name for path in write_result(run_dir, study, config, result, model)]
    echo(
        console,
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} in {relative_path(run_dir)}",
    )
    say_what_is_left_out(names, console)


def say_what_is_left_out(names: Sequence[str], console: Console) -> None:
    """Say why `report.html` is not among the files written, if it is not."""
    if PAGE not in names:
        echo(console, f"{PAGE} is left out, as it needs plotly: {how_to_install('report')}")
