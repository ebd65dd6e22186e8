"""The answer, printed and written: `python -m sb3_hpo.report`. Reads studies, never trains."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sb3_hpo.advice import advise
from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.exports import SCRIPT, training_script
from sb3_hpo.pages import PAGE, write_pages
from sb3_hpo.recipes import BEST, Recipe, recipe_of, write_recipe
from sb3_hpo.results.reevaluation_runs import LOG_FILE, RerunLog
from sb3_hpo.results.study_result import Answer, Tested, read_answer
from sb3_hpo.results.trials import CONFIG, best_trials, record_of, trials_of
from sb3_hpo.storages.existing import check_maximises, find_study, home_of
from sb3_hpo.storages.location import CONFIG_FILE
from sb3_hpo.summary import print_answer
from sb3_hpo.utils.console import near, quiet_optuna, run_command, say
from sb3_hpo.utils.errors import how_to_install
from sb3_hpo.utils.files import read_yaml_mapping, write_atomically
from sb3_hpo.zoo_entries import ZOO, zoo_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import optuna

    from sb3_hpo.scoring.statistics import Estimate


def write_answer(
    run_dir: Path, study: optuna.Study, config: StudyConfig, answer: Answer, model: tuple[str, str]
) -> list[Path]:
    """Write everything that a user takes home.

    Args:
        run_dir: The run folder.
        study: The study.
        config: Its configuration.
        answer: What is known.
        model: Names of policy and device that training chooses.

    Returns:
        The files written.
    """
    recipe = make_recipe(study, config, answer)
    files = []
    if recipe is not None:
        write_recipe(run_dir / BEST, recipe)
        write_atomically(run_dir / SCRIPT, training_script(recipe, *model))
        write_atomically(run_dir / ZOO, zoo_yaml(recipe, *model))
        files = [run_dir / name for name in (BEST, SCRIPT, ZOO)]
    return [*files, *write_pages(run_dir, study, config, answer, advise(study, config, answer))]


def make_recipe(study: optuna.Study, config: StudyConfig, answer: Answer) -> Recipe | None:
    """Make the recipe of the answer: the tested winner, or the best trial before there is one.

    Args:
        study: The study.
        config: Its configuration.
        answer: What is known.

    Returns:
        The recipe, or None while there is nothing to be trained again.
    """
    tested = answer.winner
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
        reevaluated=_plain(tested, answer),
    )


def _plain(tested: Tested, answer: Answer) -> dict[str, Any]:
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
        "optimism": answer.optimism,
        "best_model_is_median_test_seed": None if median is None else median.record.seed,
    }
    if answer.default is not None and answer.improvement is not None:
        values["default_iqm"] = answer.default.iqm.value
        values["default_iqm_interval"] = _ends(answer.default.iqm)
        values["default_n_seeds"] = len(answer.default.runs)
        values["default_n_timesteps"] = answer.default.n_steps
        values["probability_of_improvement"] = answer.improvement.value
    return values


def _ends(estimate: Estimate) -> list[float] | None:
    return None if estimate.interval is None else list(estimate.interval)


def deliver(
    console: Console,
    run_dir: Path,
    study: optuna.Study,
    config: StudyConfig,
    answer: Answer,
    model: tuple[str, str],
) -> None:
    """Print the answer and write its files.

    Args:
        console: Where to print.
        run_dir: The run folder.
        study: The study.
        config: Its configuration.
        answer: What is known.
        model: Names of policy and device that training chooses.
    """
    print_answer(console, study, answer)
    names = [path.name for path in write_answer(run_dir, study, config, answer, model)]
    say(console, f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} in {near(run_dir)}")
    _say_what_is_left_out(names, console)


def _say_what_is_left_out(names: Sequence[str], console: Console) -> None:
    if PAGE not in names:
        say(console, f"{PAGE} is left out, as it needs plotly: {how_to_install('report')}")


def main(argv: Sequence[str] | None = None) -> int:
    """Make the report of a study, also of a running one.

    Args:
        argv: The arguments; default: those of the process.

    Returns:
        The exit status: 2 for a mistake of the user.
    """
    return run_command(lambda: _command(sys.argv[1:] if argv is None else argv))


def _command(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sb3_hpo.report",
        description="Make report.html and report.md of any study, also of a running one.",
    )
    parser.add_argument("storage", help="run folder, journal file, or URL of a database")
    parser.add_argument("--study-name", help="which study, where there are several")
    parser.add_argument("--run-dir", help="where to write (default: the study's run folder)")
    arguments = parser.parse_args(argv)
    quiet_optuna()
    study = find_study(arguments.storage, arguments.study_name)
    check_maximises(study)
    run_dir = home_of(arguments.storage, study, arguments.run_dir)
    config = _config_of(study, run_dir)
    log = RerunLog(run_dir / LOG_FILE)
    answer = read_answer(study, config, log.read(), log.winner())
    advice = [] if config is None else advise(study, config, answer)
    run_dir.mkdir(parents=True, exist_ok=True)
    console = Console()
    print_answer(console, study, answer)
    paths = write_pages(run_dir, study, config, answer, advice)
    for path in paths:
        say(console, str(near(path)))
    _say_what_is_left_out([path.name for path in paths], console)
    return 0


def _config_of(study: optuna.Study, run_dir: Path) -> StudyConfig | None:
    """Return what the study was last run or re-evaluated with, or None if nothing says."""
    path = run_dir / CONFIG_FILE
    if path.exists():
        return make_config(read_yaml_mapping(path), imports=False)
    stored = study.user_attrs.get(CONFIG)
    return None if stored is None else make_config(stored, imports=False)


if __name__ == "__main__":
    sys.exit(main())
