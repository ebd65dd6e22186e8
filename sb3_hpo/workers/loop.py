"""The ask/tell loop of one process: ask for a trial, run it, tell what became of it."""

from __future__ import annotations

import logging
import time
import traceback
from collections import deque
from typing import TYPE_CHECKING

import optuna
from optuna.trial import TrialState

from sb3_hpo.results.trials import (
    ERROR,
    ERROR_SITE,
    OUTCOME,
    SESSION_START,
    STOP,
    TRACEBACK,
    count_trials,
    outcome_of,
    trials_of,
)
from sb3_hpo.training.batch.structure import CannotBatch
from sb3_hpo.training.batch_checks import check_batch
from sb3_hpo.utils.errors import StorageError
from sb3_hpo.utils.formatting import tail
from sb3_hpo.workers.ask import ask_group
from sb3_hpo.workers.lost_trials import hand_back, handle_loss
from sb3_hpo.workers.stop_rules import stop_if_enough

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.study.objective import Objective, TrialOutcome
    from sb3_hpo.workers.trial_monitor import TrialMonitor

_logger = logging.getLogger(__name__)

_POLL_S = 0.5
_MAX_SAME_ERROR = 3
_MAX_REFUSED = 2


def run_loop(
    study: optuna.Study,
    objective: Objective,
    config: StudyConfig,
    monitor: TrialMonitor,
    worker: str,
) -> str | None:
    """Run trials until the study has as many finished ones as asked for.

    Args:
        study: The study, opened in this process.
        objective: Runs a trial; it calls `monitor.on_step`.
        monitor: Says when to stop.
        worker: Name of this process, unique over all machines and starts.

    Returns:
        Why the loop ended before the study was complete, or None.
    """
    n_together, _ = trials_together(config)
    n_refused = 0  # batches in a row; what refuses several seems to be common to all trials
    while (reason := monitor.stop_reason(study)) is None:
        counts = count_trials(trials_of(study))
        if counts.finished >= config.n_trials:
            return None
        if counts.finished + counts.running >= config.n_trials:
            time.sleep(_POLL_S)  # stay: a worker that runs one of the last trials may die
            continue
        n_most = min(n_together, config.n_trials - counts.finished - counts.running)
        groups = ask_group(study, objective, config, worker, n_most)
        was_refused = _run_all(study, groups, objective, config, monitor)
        if any(len(group) > 1 for group in groups):
            n_refused = n_refused + 1 if was_refused else 0
            if n_refused == _MAX_REFUSED:
                _logger.warning("from now on trials are trained one at a time")
                n_together = 1
    return reason


def trials_together(config: StudyConfig) -> tuple[int, str | None]:
    """Return how many trials a worker trains together at most, and why not what was asked for."""
    if config.exact or config.batch_trials == config.n_seeds == 1:
        return 1, None
    if config.tensorboard or config.verbose:
        return 1, "SB3's logs are for one run at a time"
    try:
        check_batch(config, 2)
    except CannotBatch as reason:
        return 1, str(reason)
    is_batch = config.batch_trials > 1  # and not only of the seeds of one trial
    if is_batch and config.sampler == "cmaes":
        # Optuna's starts anew, at random, whenever the number of free parameters changes.
        return 1, "CMA-ES cannot leave some parameters as they are"
    if is_batch and (config.sampler == "grid" or ":" in config.sampler):
        return 1, f"the sampler {config.sampler} may not leave some parameters as they are"
    return config.batch_trials, None


def _run_all(
    study: optuna.Study,
    groups: Sequence[Sequence[optuna.Trial]],
    objective: Objective,
    config: StudyConfig,
    monitor: TrialMonitor,
) -> bool:
    """Run trials; return whether some that were to be trained together could not be."""
    was_refused = False

    def on_result(trial: optuna.Trial, outcome: TrialOutcome | Exception) -> None:
        monitor.end(trial)
        if isinstance(outcome, Exception):
            _on_error(study, trial, outcome, config)
        else:
            _tell(study, trial, outcome)
            stop_if_enough(study, config)

    monitor.begin(study, [trial for group in groups for trial in group])
    rest = deque(groups)
    while rest:
        group = [trial for trial in rest.popleft() if trial in monitor.trials]
        if not group:
            continue
        monitor.give_time(len(group))
        try:
            objective.run_trials(group, on_result)
        except StorageError:
            raise
        except CannotBatch as reason:
            _logger.warning("trials are trained one after the other: %s", reason)
            was_refused = True
            rest.extendleft([trial] for trial in reversed(group))
        except Exception as error:  # noqa: BLE001 - of what is common to the runs
            if len(group) == 1:
                on_result(group[0], error)
            else:
                _give_up_together(study, group, error, monitor)
    return was_refused


def _give_up_together(
    study: optuna.Study, group: Sequence[optuna.Trial], error: Exception, monitor: TrialMonitor
) -> None:
    """Let trials that failed as a batch be tried again, each alone."""
    _logger.error("trials could not be trained together", exc_info=error)
    for trial in group:
        if trial in monitor.trials:
            monitor.end(trial)
            handle_loss(study, trials_of(study)[trial.number])


def _tell(study: optuna.Study, trial: optuna.Trial, outcome: TrialOutcome) -> None:
    try:
        if outcome.state is TrialState.FAIL:
            hand_back(study, trials_of(study)[trial.number], outcome.record.outcome)
        else:
            study.tell(trial, outcome.value, state=outcome.state, skip_if_finished=True)
    except optuna.exceptions.UpdateFinishedTrialError:
        _log_revoked(trial)
        return
    _logger.info(
        "trial %d: %s, value %s, %.1f s",
        trial.number, outcome.record.outcome, outcome.value, outcome.record.seconds,
    )  # fmt: skip


def _log_revoked(trial: optuna.Trial) -> None:
    # This process was paused for so long that its trial was given to another.
    _logger.warning("trial %d was given to another worker; dropped here", trial.number)


def _on_error(
    study: optuna.Study, trial: optuna.Trial, error: Exception, config: StudyConfig
) -> None:
    if isinstance(error, optuna.exceptions.UpdateFinishedTrialError):
        _log_revoked(trial)
        return
    if isinstance(error, StorageError):
        raise error  # no fault of the trial, and nothing can be told
    _logger.error("trial %d failed", trial.number, exc_info=error)
    try:
        _record_error(study, trial, error)
    except optuna.exceptions.UpdateFinishedTrialError:
        return  # given to another worker meanwhile; the error is in the log
    _stop_if_hopeless(study, config, error=(type(error).__name__, _site(error)))


def _record_error(study: optuna.Study, trial: optuna.Trial, error: Exception) -> None:
    trial.set_user_attr(OUTCOME, "error")
    trial.set_user_attr(ERROR, f"{type(error).__name__}: {tail(str(error))}")
    trial.set_user_attr(ERROR_SITE, _site(error))
    trial.set_user_attr(TRACEBACK, tail("".join(traceback.format_exception(error))))
    study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)


def _site(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}"


def _stop_if_hopeless(study: optuna.Study, config: StudyConfig, error: tuple[str, str]) -> None:
    """Stop the study when errors repeat: sampling on does not remove a bug."""
    start = study.user_attrs.get(SESSION_START, "")
    errors = [
        (trial.user_attrs[ERROR].partition(":")[0], trial.user_attrs[ERROR_SITE])
        for trial in trials_of(study)
        if outcome_of(trial) == "error"
        and trial.datetime_complete is not None
        and trial.datetime_complete.isoformat() >= start
    ]
    kind, site = error
    if errors.count(error) >= _MAX_SAME_ERROR:
        study.set_user_attr(STOP, f"{_MAX_SAME_ERROR} trials failed with {kind} at {site}")
    elif len(errors) > max(10, config.n_trials / 4):
        study.set_user_attr(STOP, f"{len(errors)} trials failed, the last with {kind} at {site}")
