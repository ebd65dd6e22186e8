"""The command `python -m sb3_hpo.optimize`: a study from its preflight to its answer."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sb3_hpo.config.command_line import OPTIMIZE, read_options
from sb3_hpo.utils.console import echo, quiet_optuna, relative_path, run_command
from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.files import format_yaml, write_atomically
from sb3_hpo.utils.formatting import plural
from sb3_hpo.utils.notebook_objects import keep_in
from sb3_hpo.utils.processes import leave

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna
    from rich.console import Console

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.storages.study_location import StudyLocation
    from sb3_hpo.tuning_result import TuningResult


def run_study(config: StudyConfig, console: Console) -> TuningResult:
    """Search, re-evaluate, and write the answer.

    Args:
        console: Where progress is shown.

    Returns:
        The result.

    Raises:
        UserError: Something about the configuration is wrong; nothing was written.
    """
    from sb3_hpo.utils.processes import IN_WORKER

    if IN_WORKER in os.environ:
        raise UserError(
            "a worker came upon tune() while importing your script: call it under "
            'if __name__ == "__main__":'
        )
    from sb3_hpo.results.trials import STOP, STOPPED, trials_of
    from sb3_hpo.spaces.enqueue.enqueued_point import read_enqueued
    from sb3_hpo.storages.study_location import CONFIG_FILE, StudyLocation
    from sb3_hpo.study.create_or_resume import create_or_resume, is_owner
    from sb3_hpo.study.preflight import prepare, try_model
    from sb3_hpo.study.rehearsal import rehearsal
    from sb3_hpo.tuning_result import TuningResult
    from sb3_hpo.workers.search import say_where_the_answer_is, search

    quiet_optuna(verbose=config.verbose)
    start = time.time()
    location = StudyLocation.of(config)
    with rehearsal(config, partial(echo, console)):
        space = prepare(config)
        points = [read_enqueued(Path(path), space) for path in config.enqueue]
        try_model(config, space)
    with location.reserved():
        study = create_or_resume(config, location, space, points)
        keep_in(location.run_dir, config.plain())
        owns_study = is_owner(study, location)
        if owns_study:
            write_atomically(location.run_dir / CONFIG_FILE, format_yaml(config.plain()))
        # A mistyped --storage or --study-name must not start anew unnoticed.
        kind = "study" if any(t.datetime_start for t in trials_of(study)) else "new study"
        echo(console, f"{kind} {location.name} in {relative_path(location.run_dir)}")
        status = search(
            study, config, location, space, console, start=start, owns_study=owns_study
        )
    if not owns_study:
        say_where_the_answer_is(study, location, console)
    elif status == 0 and study.user_attrs.get(STOP) != STOPPED:
        status = _answer(study, config, location, start, console, reevaluate=config.reevaluate)
    else:
        _answer(study, config, location, start, console, reevaluate=False)
    return TuningResult(study, location.run_dir, status, trust=True)  # the user has named it all


def _answer(
    study: optuna.Study,
    config: StudyConfig,
    location: StudyLocation,
    start: float,
    console: Console,
    *,
    reevaluate: bool,
) -> int:
    """Find the answer, or what is known of it so far; print and write it."""
    from sb3_hpo.reevaluation.candidates import count_different
    from sb3_hpo.reevaluation.race_and_test import reevaluate as reevaluate_study
    from sb3_hpo.report.deliver import deliver
    from sb3_hpo.results.reevaluation_runs import LOG_FILE, ReevaluationLog
    from sb3_hpo.results.study_result import read_result
    from sb3_hpo.results.trials import best_trials
    from sb3_hpo.study.preflight import model_choices

    n_different = count_different(study)
    has_nothing = not best_trials(study, 1)
    status = int(has_nothing)
    if reevaluate and n_different > 0:
        if config.top is not None and config.top > n_different:
            echo(console, f"Only {plural(n_different, 'trial')} can race, not {config.top}.")
            config = config.model_copy(update={"top": n_different})
        deadline = None if config.timeout is None else start + config.timeout
        result, ended = reevaluate_study(
            study, config, location.run_dir, console, deadline=deadline
        )
        status = ended.exit_status
    else:
        log = ReevaluationLog(location.run_dir / LOG_FILE)
        result = read_result(study, config, log.read(), log.winner())
    deliver(console, location.run_dir, study, config, result, model_choices(config))
    if has_nothing:
        echo(console, "No trial has a value, so there is no answer.")
    return status


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments; default: those of the process.

    Returns:
        The exit status: 2 for a mistake of the user, with one line on standard error.
    """
    return run_command(lambda: _command(sys.argv[1:] if argv is None else argv))


def _command(argv: Sequence[str]) -> int:
    options = read_options(argv, OPTIMIZE)
    config = options.config() if options.action is None else None
    if config is not None and options.print_config:
        sys.stdout.write(format_yaml(config.plain()))
        return 0
    from rich.console import Console

    if config is not None:
        return run_study(config, Console()).exit_status

    from sb3_hpo.workers.search import join, stop

    quiet_optuna()
    return {"join": join, "stop": stop}[str(options.action)](options, Console())


if __name__ == "__main__":
    leave(main())
