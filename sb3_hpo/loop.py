"""The ask/tell loop of one process: claim a trial, run it, tell what became of it."""

from __future__ import annotations

import logging
import time
import traceback
from typing import TYPE_CHECKING

import optuna
from optuna.trial import TrialState

from sb3_hpo.liveness import StaleTrials, find_lost, hand_back, handle_loss
from sb3_hpo.patience import StorageAwayError, hurry
from sb3_hpo.training import StopRun
from sb3_hpo.trials import (
    BEAT,
    ERROR,
    ERROR_SITE,
    OUTCOME,
    SESSION_START,
    STOP,
    TIME_OVER,
    TRACEBACK,
    WORKER,
    count_trials,
    enqueued_point,
    outcome_of,
    trials_of,
)

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

    from optuna.trial import FrozenTrial

    from sb3_hpo.config import StudyConfig
    from sb3_hpo.objective import Objective

_logger = logging.getLogger(__name__)

_POLL_S = 0.5
_STOP_CHECK_S = 2.0
_MAX_SAME_ERROR = 3


class Watch:
    """Knows why this process should stop, and shows that its trial makes progress."""

    def __init__(
        self,
        config: StudyConfig,
        *,
        deadline: float | None = None,
        orphaned: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare.

        Args:
            config: The study's configuration.
            deadline: When the search ends, on `clock`.
            orphaned: Whether the process that started this one is gone.
            clock: Seconds; tests pass their own.
        """
        self._config, self._deadline = config, deadline
        self._orphaned, self._clock = orphaned, clock
        self._signal: str | None = None
        self._study: optuna.Study | None = None
        self._trial: optuna.Trial | None = None
        self._started = self._next_check = self._next_beat = 0.0
        self._beat = 0

    def begin(self, study: optuna.Study, trial: optuna.Trial) -> None:
        """Start watching a trial that this process has claimed."""
        self._study, self._trial = study, trial
        self._started = self._clock()
        self._next_check = self._started + _STOP_CHECK_S
        self._next_beat = self._started + self._config.beat_interval
        self._beat = 0

    def stop_reason(self, study: optuna.Study) -> str | None:
        """Return why the process should stop, or None."""
        if self._signal is not None:
            return self._signal
        if self._deadline is not None and self._clock() >= self._deadline:
            return TIME_OVER
        if self._orphaned():
            return "the process that started this worker is gone"
        reason: str | None = study.user_attrs.get(STOP)
        return reason

    def on_step(self, _n_steps: int) -> None:
        """Go on, or raise. Called at every environment step, so it must cost next to nothing.

        Raises:
            StopRun: The trial has to end here.
        """
        if self._signal is not None:
            raise StopRun("interrupted", self._signal)
        now = self._clock()
        if now < self._next_check or self._study is None or self._trial is None:
            return
        self._next_check = now + _STOP_CHECK_S
        if (reason := self.stop_reason(self._study)) is not None:
            raise StopRun("interrupted", reason)
        limit = self._config.trial_timeout
        if limit is not None and now - self._started >= limit:
            raise StopRun("timeout", f"the trial took longer than {limit:g} s")
        if now >= self._next_beat:
            self._beat += 1
            self._trial.set_user_attr(BEAT, self._beat)
            self._next_beat = now + self._config.beat_interval

    def take_signal(self, received: signal.Signals) -> None:
        """Let the first signal end the trial cleanly and the second one end it at once."""
        if self._signal is not None:
            raise KeyboardInterrupt
        self._signal = f"received {received.name}"
        if self._study is not None:
            hurry(self._study)


def run_trials(
    study: optuna.Study, objective: Objective, config: StudyConfig, watch: Watch, worker: str
) -> str | None:
    """Run trials until the study has as many finished ones as asked for.

    Args:
        study: The study, opened in this process.
        objective: What judges a trial; it calls `watch.on_step`.
        config: The study's configuration.
        watch: Says when to stop.
        worker: Name of this process, unique over all machines and starts.

    Returns:
        Why the loop ended before the study was complete, or None.
    """
    stale = StaleTrials(config)
    while (reason := watch.stop_reason(study)) is None:
        trials = trials_of(study)
        for trial in find_lost(study, stale, trials):
            _logger.warning("trial %d shows no progress; handing it on", trial.number)
            handle_loss(study, trial)
        counts = count_trials(trials)
        if counts.finished >= config.n_trials:
            return None
        if counts.finished + counts.running >= config.n_trials:
            time.sleep(_POLL_S)  # stay: a worker that runs one of the last trials may die
            continue
        claimed = claim(study, config.n_trials, worker)
        if claimed is not None:
            _run_one(study, claimed, objective, config, watch)
    return reason


def claim(study: optuna.Study, n_trials: int, worker: str) -> optuna.Trial | None:
    """Ask for a trial, and give it back if it is surplus: the study has enough without it.

    Or it is a point of `--enqueue` that two commands have enqueued at the same moment.

    Numbers are handed out atomically, so counting the lower ones that have not failed makes the
    total exact over any number of workers without a coordinator.

    Args:
        study: The study.
        n_trials: How many trials it should have.
        worker: Name of this process.

    Returns:
        The trial, or None if it was surplus or given up meanwhile.
    """
    trial = study.ask()
    try:
        trial.set_user_attr(WORKER, worker)
        *lower, frozen = trials_of(study)[: trial.number + 1]
        if (point := enqueued_point(frozen)) and point in map(enqueued_point, lower):
            trial.set_user_attr(OUTCOME, "surplus")
            study.tell(trial, state=TrialState.FAIL)
        elif sum(t.state is not TrialState.FAIL for t in lower) < n_trials:
            return trial
        else:  # an enqueued point waits for the day when more trials are asked for
            hand_back(study, frozen, "surplus")
    except optuna.exceptions.UpdateFinishedTrialError:
        _logger.warning("trial %d was given up while this process was paused", trial.number)
    return None


def _run_one(
    study: optuna.Study,
    trial: optuna.Trial,
    objective: Objective,
    config: StudyConfig,
    watch: Watch,
) -> None:
    watch.begin(study, trial)
    try:
        verdict = objective.judge(trial)
        if verdict.state is TrialState.FAIL:
            hand_back(study, _frozen(study, trial), verdict.record.outcome)
        else:
            study.tell(trial, verdict.value, state=verdict.state, skip_if_finished=True)
    except optuna.exceptions.UpdateFinishedTrialError:
        # This process was paused for so long that its trial was given to another.
        _logger.warning("trial %d was given to another worker; dropped here", trial.number)
        return
    except StorageAwayError:
        raise  # no fault of the trial, and nothing can be told
    except Exception as error:
        _logger.exception("trial %d failed", trial.number)
        try:
            _record_error(study, trial, error)
        except optuna.exceptions.UpdateFinishedTrialError:
            return  # as above; the error is in the log
        _stop_if_hopeless(study, config, error=(type(error).__name__, _site(error)))
        return
    _logger.info(
        "trial %d: %s, value %s, %.1f s",
        trial.number, verdict.record.outcome, verdict.value, verdict.record.seconds,
    )  # fmt: skip


def _frozen(study: optuna.Study, trial: optuna.Trial) -> FrozenTrial:
    return trials_of(study)[trial.number]


def _record_error(study: optuna.Study, trial: optuna.Trial, error: Exception) -> None:
    trial.set_user_attr(OUTCOME, "error")
    trial.set_user_attr(ERROR, f"{type(error).__name__}: {error}")
    trial.set_user_attr(ERROR_SITE, _site(error))
    trial.set_user_attr(TRACEBACK, "".join(traceback.format_exception(error)))
    study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)


def _site(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}"


def _stop_if_hopeless(study: optuna.Study, config: StudyConfig, error: tuple[str, str]) -> None:
    """Stop the study when errors repeat: a bug is not mended by sampling on."""
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
