"""One command's part in a study's search: its workers, its progress, and why it ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sb3_hpo.algorithms.trust import strangers
from sb3_hpo.loop import trials_together
from sb3_hpo.progress import Progress
from sb3_hpo.results.trials import (
    CONFIG,
    HOME,
    STOP,
    STOPPED,
    TIME_OVER,
    USED_UP,
    count_trials,
    trials_of,
)
from sb3_hpo.utils.console import say
from sb3_hpo.utils.formatting import plural
from sb3_hpo.utils.processes import n_cores
from sb3_hpo.workers import Workers

if TYPE_CHECKING:
    import optuna
    from rich.console import Console

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.spaces.bound_space import BoundSpace
    from sb3_hpo.storages.location import Place
    from sb3_hpo.workers import WorkersResult

_SEARCH_SHARE = 0.65  # of --timeout; the rest is for the re-evaluation


def search(
    study: optuna.Study,
    config: StudyConfig,
    place: Place,
    space: BoundSpace,
    console: Console,
    *,
    start: float,
    at_home: bool,
) -> int:
    """Run the trials that are left.

    Args:
        study: The study.
        config: Its configuration.
        place: Where it lives.
        space: Its search space.
        console: Where progress is shown.
        start: When the command began, in seconds since the epoch.
        at_home: Whether this command speaks for the study: the end of its time is everybody's.

    Returns:
        The exit status: 0 complete, out of time or stopped by the user; 1 given up; 130 or 143
        interrupted.
    """
    n_left = config.n_trials - count_trials(trials_of(study)).finished
    if n_left <= 0:
        say(console, f"It is complete. For more trials: --n-trials {2 * config.n_trials}; "
                     "to start anew: another --seed or --study-name.")  # fmt: skip
        return 0
    n_workers = min(config.n_workers or n_cores(), n_left)
    if place.address.kind == "sqlite" and n_workers > 1:
        n_workers = 1
        say(console, "sqlite:/// holds one worker; a journal file (the default) holds many.")
    say(console, f"{plural(n_left, 'trial')} of {config.n_timesteps:,} steps to go, over "
                 f"{plural(len(space.dimensions), 'dimension')}, on "
                 f"{plural(n_workers, 'worker')}")  # fmt: skip
    if (reason := trials_together(config)[1]) is not None:
        say(console, f"They are trained one at a time: {reason}.")
    deadline = None
    if config.timeout is not None:
        deadline = start + config.timeout * (_SEARCH_SHARE if config.reevaluate else 1)
    with Progress(study, config.n_trials, console) as progress:
        ended = Workers(study, config, place, deadline).run(n_workers, progress.tick)
    is_over = deadline is not None and time.time() >= deadline
    if ended.signal is None and is_over and at_home:
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
        say(console, "Interrupted; the same command goes on from here.")
        return 128 + ended.signal
    if count_trials(trials_of(study)).finished >= config.n_trials:
        return 0
    problem = study.user_attrs.get(STOP) or ended.problem
    if problem is None:
        problem = TIME_OVER if is_over else "its workers ended without saying why; see their logs"
    if problem == USED_UP:
        say(console, f"The search ends: {problem}.")
        return 0
    if problem in (STOPPED, TIME_OVER):
        say(console, f"The search ends: {problem}. The same command goes on from here.")
        return 0
    say(console, f"Given up: {problem}")
    return 1


def say_where_the_answer_is(study: optuna.Study, place: Place, console: Console) -> None:
    """Say who re-evaluates a study that this command has only worked for.

    Args:
        study: The study.
        place: Where this command works.
        console: Where to print.
    """
    home = study.user_attrs.get(HOME)
    where = f" in {home['run_dir']} on {home['host']}" if home else ""
    say(console, f"Its answer is found by the command that created it{where}; or here, by "
                 f"python -m sb3_hpo.reevaluate --storage {place.address} "
                 f"--study-name {place.name}"
                 f"{' --trust' * bool(strangers(study.user_attrs[CONFIG]))}")  # fmt: skip
