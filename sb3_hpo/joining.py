"""What can be done to a study that exists from anywhere: add workers to it, and stop it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sb3_hpo.results.trials import CONFIG, STOP, STOPPED, count_trials, trials_of
from sb3_hpo.session import say_where_the_answer_is, search
from sb3_hpo.storages.existing import find_address, find_study, home_of
from sb3_hpo.storages.location import Place
from sb3_hpo.study import check_same, open_study, prepare
from sb3_hpo.utils.console import near, say
from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.formatting import plural

if TYPE_CHECKING:
    import optuna
    from rich.console import Console

    from sb3_hpo.config.command_line import Options
    from sb3_hpo.config.study_config import StudyConfig


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
        "run_dir": str(home_of(storage, found, options.values.get("run_dir"))),
    }
    own = {"n_workers": None, "timeout": None} | options.values | here
    config = replace(options, values=own).config(stored)
    config = config.model_copy(update={"storage": address.text})
    check_same(config, found)
    _check_goes_on(found, config)
    place = Place.of(config)
    space = prepare(config)
    with place.reserved():
        study = open_study(config, place)
        place.run_dir.mkdir(parents=True, exist_ok=True)
        say(console, f"joining study {place.name}; logs are in {near(place.run_dir)}")
        status = search(study, config, place, space, console, start=start, at_home=False)
    say_where_the_answer_is(study, place, console)
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
    say(console, f"study {study.study_name}: its search ends, and {plural(n_running, 'trial')} "
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
