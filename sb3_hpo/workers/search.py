"""One command's part in a study's search: its workers, its progress, and why it ended."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sb3_hpo.algorithms.trust import strangers
from sb3_hpo.results.trials import (
    CONFIG,
    OWNER,
    STOP,
    STOPPED,
    TIME_OVER,
    USED_UP,
    count_trials,
    trials_of,
)
from sb3_hpo.storages.existing import find_address, find_run_dir, find_study
from sb3_hpo.storages.study_location import StudyLocation
from sb3_hpo.study.create_or_resume import check_same, open_study
from sb3_hpo.study.preflight import prepare
from sb3_hpo.utils.console import echo, relative_path
from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.formatting import plural
from sb3_hpo.utils.notebook_objects import FOLDER, search_in
from sb3_hpo.utils.processes import n_cores
from sb3_hpo.workers.loop import trials_together
from sb3_hpo.workers.lost_trials import take_back_orphans
from sb3_hpo.workers.pool import Workers
from sb3_hpo.workers.progress import Progress
from sb3_hpo.workers.stop_rules import RULES, stop_if_enough

if TYPE_CHECKING:
    import optuna
    from rich.console import Console

    from sb3_hpo.config.command_line import Options
    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.spaces.bound_space import BoundSpace
    from sb3_hpo.workers.pool import WorkersResult


_SEARCH_SHARE = 0.65  # of --timeout; the rest is for the re-evaluation


def search(
    study: optuna.Study,
    config: StudyConfig,
    location: StudyLocation,
    space: BoundSpace,
    console: Console,
    *,
    start: float,
    owns_study: bool,
) -> int:
    """Run the trials that are left.

    Args:
        location: Where it lives.
        console: Where progress is shown.
        start: When the command began, in seconds since the epoch.
        owns_study: Whether this command speaks for the study: the end of its time is everybody's.

    Returns:
        The exit status: 0 complete, out of time, ended by a rule or by the user; 1 given up; 130
        or 143 interrupted.
    """
    if owns_study and (numbers := take_back_orphans(study)):
        trials = ", ".join(map(str, numbers))
        echo(console, f"Their workers are gone, so these trials are tried again: {trials}.")
    n_left = config.n_trials - count_trials(trials_of(study)).finished
    if n_left <= 0:
        echo(console, f"It is complete. For more trials: --n-trials {2 * config.n_trials}; "
                     "to start anew: another --seed or --study-name.")  # fmt: skip
        return 0
    if (reason := stop_if_enough(study, config)) is not None:
        return _say_enough(reason, config, console)
    n_workers = min(config.n_workers or n_cores(), n_left)
    if location.address.kind == "sqlite" and n_workers > 1:
        n_workers = 1
        echo(console, "sqlite:/// holds one worker; a journal file (the default) holds many.")
    echo(console, f"{plural(n_left, 'trial')} of {config.n_timesteps:,} steps to go, over "
                 f"{plural(len(space.dimensions), 'dimension')}, on "
                 f"{plural(n_workers, 'worker')}")  # fmt: skip
    if (reason := trials_together(config)[1]) is not None:
        echo(console, f"They are trained one at a time: {reason}.")
    deadline = None
    if config.timeout is not None:
        deadline = start + config.timeout * (_SEARCH_SHARE if config.reevaluate else 1)
    with Progress(study, config.n_trials, console) as progress:
        ended = Workers(study, config, location, deadline).run(n_workers, progress.tick)
    is_over = deadline is not None and time.time() >= deadline
    if ended.signal is None and is_over and owns_study:
        study.set_user_attr(STOP, study.user_attrs.get(STOP) or TIME_OVER)  # for all that joined
    return _say_why_it_ended(study, config, ended, console, is_over=is_over)


def _say_why_it_ended(
    study: optuna.Study,
    config: StudyConfig,
    ended: WorkersResult,
    console: Console,
    *,
    is_over: bool,
) -> int:
    """Say why there are not as many trials as asked for, if so; return the exit status."""
    if ended.signal is not None:
        echo(console, "Interrupted; the same command goes on from here.")
        return 128 + ended.signal
    if count_trials(trials_of(study)).finished >= config.n_trials:
        return 0
    problem = study.user_attrs.get(STOP) or ended.problem
    if problem is None:
        problem = TIME_OVER if is_over else "its workers ended without saying why; see their logs"
    if problem.startswith(RULES):
        return _say_enough(problem, config, console)
    if problem == USED_UP:
        echo(console, f"The search ends: {problem}.")
        return 0
    if problem in (STOPPED, TIME_OVER):
        echo(console, f"The search ends: {problem}. The same command goes on from here.")
        return 0
    echo(console, f"Given up: {problem}")
    return 1


def _say_enough(reason: str, config: StudyConfig, console: Console) -> int:
    who = "the re-evaluation" if config.reevaluate else "python -m sb3_hpo.reevaluate"
    echo(console, f"The search ends: {reason}. The best of many noisy numbers proves nothing "
                  f"alone: {who} trains the best trials again from fresh seeds. To search on: a "
                  f"larger {reason.partition(' ')[0]}.")  # fmt: skip
    return 0


def say_where_the_answer_is(
    study: optuna.Study, location: StudyLocation, console: Console
) -> None:
    """Say who re-evaluates a study that this command has only worked for.

    Args:
        location: Where this command works.
        console: Where to print.
    """
    home = study.user_attrs.get(OWNER)
    where = f" in {home['run_dir']} on {home['host']}" if home else ""
    echo(console, f"Its answer is found by the command that created it{where}; or here, by "
                 f"python -m sb3_hpo.reevaluate --storage {location.address} "
                 f"--study-name {location.name}"
                 f"{' --trust' * bool(strangers(study.user_attrs[CONFIG]))}")  # fmt: skip


def join(options: Options, console: Console) -> int:
    """Become more workers of a study, with the configuration that is in it.

    Args:
        options: Say which study. Of the others, those that change no trial value may differ
            here: `--n-workers`, `--timeout`, `--device` and so on.
        console: Where progress is shown.

    Returns:
        The exit status.

    Raises:
        UserError: There is no such study, or an option would change its trials.
    """
    start = time.time()
    storage, found, stored = _find(options)
    address = find_address(storage)
    here: dict[str, Any] = {
        "storage": str(address),
        "study_name": found.study_name,
        "run_dir": str(find_run_dir(storage, found, options.values.get("run_dir"))),
    }
    search_in(Path(here["run_dir"]) / FOLDER)
    own = {"n_workers": None, "timeout": None} | options.values | here
    config = replace(options, values=own).config(stored)
    config = config.model_copy(update={"storage": address.text})
    check_same(config, found)
    _check_goes_on(found, config)
    location = StudyLocation.of(config)
    space = prepare(config)
    with location.reserved():
        study = open_study(config, location)
        location.run_dir.mkdir(parents=True, exist_ok=True)
        echo(
            console,
            f"joining study {location.name}; logs are in {relative_path(location.run_dir)}",
        )
        status = search(study, config, location, space, console, start=start, owns_study=False)
    say_where_the_answer_is(study, location, console)
    return status


def _check_goes_on(study: optuna.Study, config: StudyConfig) -> None:
    """Refuse to join a search that was ended before it was complete."""
    reason = study.user_attrs.get(STOP)
    if reason is not None and count_trials(trials_of(study)).finished < config.n_trials:
        raise UserError(
            f"study {study.study_name!r} cannot be joined: its search has ended ({reason}); first "
            "start again the command that created it"
        )


def stop(options: Options, console: Console) -> int:
    """End the search of a study everywhere.

    Args:
        options: Say which study.
        console: Where to print.

    Returns:
        The exit status.

    Raises:
        UserError: There is no such study.
    """
    _, study, _ = _find(options)
    n_running = count_trials(trials_of(study)).running
    study.set_user_attr(STOP, STOPPED)
    echo(console, f"study {study.study_name}: its search ends, and {plural(n_running, 'trial')} "
                 "with it; the command that started it goes on from there")  # fmt: skip
    return 0


def _find(options: Options) -> tuple[str, optuna.Study, dict[str, Any]]:
    """Find the study, where it is, and the configuration that it carries."""
    storage = options.values.get("storage") or options.values.get("run_dir")
    mistakes = list(options.mistakes)
    if storage is None:
        mistakes.append("storage: missing; give the --storage (and --study-name) of the study")
    if mistakes:
        raise UserError("; ".join(mistakes))
    study = find_study(str(storage), options.values.get("study_name"))
    if CONFIG not in study.user_attrs:
        raise UserError(f"study {study.study_name!r} was not made by sb3_hpo")
    return str(storage), study, study.user_attrs[CONFIG]
