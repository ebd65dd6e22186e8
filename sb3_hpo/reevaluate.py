"""The best trials again, from fresh seeds: `python -m sb3_hpo.reevaluate`, for any study."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from sb3_hpo.algorithms.trust import check_trusted, named_modules
from sb3_hpo.config.command_line import Program, read_options
from sb3_hpo.reevaluation.candidates import replay_through
from sb3_hpo.reevaluation.race_and_test import reevaluate
from sb3_hpo.report.deliver import deliver
from sb3_hpo.results.reevaluation_runs import LOG_FILE, ReevaluationLog
from sb3_hpo.results.trials import CONFIG, best_trials, record_of, trials_of
from sb3_hpo.storages.existing import find_run_dir, find_study
from sb3_hpo.storages.study_location import CONFIG_FILE
from sb3_hpo.utils.console import echo, quiet_optuna, run_command
from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.files import format_yaml, write_atomically
from sb3_hpo.utils.formatting import plural
from sb3_hpo.utils.notebook_objects import FOLDER, search_in
from sb3_hpo.utils.processes import leave

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import optuna


PROGRAM = Program(
    "reevaluate",
    "--storage STORAGE [--study-name NAME] [--top K] [--seeds N] [options]",
    "Train a study's best trials again from fresh seeds. For a study that sb3_hpo has not made, "
    "say how it was trained: --algo, --env, --n-timesteps, --space.",
    searches=False,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments; default: those of the process.

    Returns:
        The exit status: 2 for a mistake of the user, 1 if runs could not be trained.
    """
    return run_command(lambda: _command(sys.argv[1:] if argv is None else argv))


def _command(argv: Sequence[str]) -> int:
    start = time.time()
    options = read_options([re.sub(r"^--seeds(?=$|=)", "--test-seeds", w) for w in argv], PROGRAM)
    storage = options.values.get("storage")
    if storage is None:
        raise UserError("storage: missing; give the run folder, journal or database of the study")
    quiet_optuna()
    study = find_study(storage, options.values.get("study_name"))
    stored = study.user_attrs.get(CONFIG)
    if stored is not None:  # its configuration says where it lives, for `optimize` to go on
        options = replace(options, values={**options.values, "storage": stored.get("storage")})
    if stored is None and not {"algo", "env"} <= options.values.keys():
        raise UserError(
            f"study {study.study_name!r} was not made by sb3_hpo: say how it was trained, with "
            "--algo, --env, --n-timesteps and --space"
        )
    run_dir = find_run_dir(storage, study, options.values.get("run_dir"))
    search_in(run_dir / FOLDER)
    _check_trusted(study, stored or {}, options.values, run_dir)
    config = options.config(stored)
    if options.print_config:
        sys.stdout.write(format_yaml(config.plain()))
        return 0

    from rich.console import Console

    from sb3_hpo.study.create_or_resume import check_same
    from sb3_hpo.study.preflight import model_choices, prepare
    from sb3_hpo.study.rehearsal import rehearsal

    if stored is not None:
        check_same(config, study)
    console = Console()
    with rehearsal(config, partial(echo, console)):
        space = prepare(config)
    replay = None if stored is not None else replay_through(space.sample, *space.bare)
    echo(console, f"study {study.study_name} with {plural(len(trials_of(study)), 'trial')}")
    limit = config.timeout if "timeout" in options.values else None  # the study's was its search's
    deadline = None if limit is None else start + limit
    result, ended = reevaluate(study, config, run_dir, console, replay=replay, deadline=deadline)
    write_atomically(run_dir / CONFIG_FILE, format_yaml(config.plain()))
    deliver(console, run_dir, study, config, result, model_choices(config))
    return ended.exit_status


def _check_trusted(
    study: optuna.Study, stored: dict[str, Any], given: Mapping[str, Any], run_dir: Path
) -> None:
    """Refuse to run code that a study or a run folder names, and the user has not."""
    winner = ReevaluationLog(run_dir / LOG_FILE).winner()
    records = [record_of(trial) for trial in best_trials(study)]
    kwargs = [item.kwargs for item in (*records, winner) if item is not None]
    unsaid = {name: value for name, value in stored.items() if name not in given}
    check_trusted(
        {**unsaid, "kwargs": kwargs}, named_modules(given), f"study {study.study_name!r}"
    )


if __name__ == "__main__":
    leave(main())
