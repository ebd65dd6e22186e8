"""One worker process: `python -m sb3_hpo.workers`, started by `workers`, joins a study by name."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import optuna

from sb3_hpo.config.study_config import make_config
from sb3_hpo.storages.address import StorageAddress
from sb3_hpo.storages.study_location import StudyLocation
from sb3_hpo.study.create_or_resume import open_study
from sb3_hpo.study.objective import Objective
from sb3_hpo.study.preflight import prepare
from sb3_hpo.utils.console import quiet_optuna, run_command
from sb3_hpo.utils.processes import DONE, STORAGE, end_hung_orphan, leave, stop_signals
from sb3_hpo.workers.loop import run_loop
from sb3_hpo.workers.trial_monitor import TrialMonitor

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Work on a study until it is complete or has to stop.

    Args:
        argv: The study, its configuration as JSON, this worker's name, who started it, when the
            search ends. The storage comes in an environment variable.

    Returns:
        `DONE`, or 2 if the storage was away for too long. Everything else raises, for the log.
    """
    parser = argparse.ArgumentParser(prog="python -m sb3_hpo.workers")
    parser.add_argument("--study-name", required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--deadline", type=float, default=None)
    arguments = parser.parse_args(argv)
    return run_command(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> int:
    address = StorageAddress.parse(os.environ[STORAGE])
    config = make_config(json.loads(arguments.config))
    location = StudyLocation(
        arguments.study_name, arguments.run_dir, address, config.storage_timeout
    )
    _talk(verbose=config.verbose)
    end_hung_orphan(arguments.parent)
    monitor = TrialMonitor(
        config, deadline=arguments.deadline, orphaned=lambda: os.getppid() != arguments.parent
    )
    with stop_signals(monitor.on_signal):
        space = prepare(config)
        study = open_study(config, location, space, waits_to_open=True)
        objective = Objective(
            config, space.sample, on_step=monitor.on_step, run_dir=location.run_dir
        )
        reason = run_loop(study, objective, config, monitor, arguments.name)
    logging.getLogger(__name__).info("ends: %s", reason or "the study is complete")
    return DONE


def _talk(*, verbose: bool) -> None:
    """Log our own lines; let SB3's and Optuna's through only when asked to."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(message)s"
    )
    logging.captureWarnings(capture=True)
    quiet_optuna(verbose=verbose)
    if not verbose:
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


if __name__ == "__main__":
    leave(main())
