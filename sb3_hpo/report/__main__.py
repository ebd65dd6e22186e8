"""The answer, printed and written: `python -m sb3_hpo.report`. Reads studies, never trains."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from rich.console import Console

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.report.advice.rules import advise
from sb3_hpo.report.deliver import say_what_is_left_out
from sb3_hpo.report.pages.assemble import write_pages
from sb3_hpo.report.terminal import print_result
from sb3_hpo.results.reevaluation_runs import LOG_FILE, ReevaluationLog
from sb3_hpo.results.study_result import read_result
from sb3_hpo.results.trials import CONFIG
from sb3_hpo.storages.existing import check_maximises, find_run_dir, find_study
from sb3_hpo.storages.study_location import CONFIG_FILE
from sb3_hpo.utils.console import echo, quiet_optuna, relative_path, run_command
from sb3_hpo.utils.files import read_yaml_mapping

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import optuna


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
        prog="sb3-hpo report",
        description="Make report.html and report.md of any study, also of a running one.",
    )
    parser.add_argument("storage", help="run folder, journal file, or URL of a database")
    parser.add_argument("--study-name", help="which study, where there are several")
    parser.add_argument("--run-dir", help="where to write (default: the study's run folder)")
    arguments = parser.parse_args(argv)
    quiet_optuna()
    study = find_study(arguments.storage, arguments.study_name)
    check_maximises(study)
    run_dir = find_run_dir(arguments.storage, study, arguments.run_dir)
    config = _config_of(study, run_dir)
    log = ReevaluationLog(run_dir / LOG_FILE)
    result = read_result(study, config, log.read(), log.winner())
    advice = [] if config is None else advise(study, config, result)
    run_dir.mkdir(parents=True, exist_ok=True)
    console = Console()
    print_result(console, study, result)
    paths = write_pages(run_dir, study, config, result, advice)
    for path in paths:
        echo(console, str(relative_path(path)))
    say_what_is_left_out([path.name for path in paths], console)
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
