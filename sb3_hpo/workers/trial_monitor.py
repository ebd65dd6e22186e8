"""Why a worker should stop, and the beats that show that its trials make progress."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import optuna

from sb3_hpo.results.trials import BEAT, STOP, TIME_OVER
from sb3_hpo.storages.retrying import stop_retrying
from sb3_hpo.training.hooks import StopRun
from sb3_hpo.utils.processes import end_copy_of

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Sequence

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.results.run_record import Outcome

_STOP_CHECK_S = 2.0


class TrialMonitor:
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
            deadline: When the search ends, on `clock`.
            orphaned: Whether the process that started this one is gone.
            clock: Seconds; tests pass their own.
        """
        self._config, self._deadline = config, deadline
        self._orphaned, self._clock = orphaned, clock
        self._pid = os.getpid()
        self._signal: str | None = None
        self._study: optuna.Study | None = None
        self._trials: list[optuna.Trial] = []
        self._stop: tuple[Outcome, str] | None = None
        self._started = self._next_check = self._next_beat = 0.0
        self._beat, self._n_together = 0, 1

    def begin(self, study: optuna.Study, trials: Sequence[optuna.Trial]) -> None:
        """Start watching trials that this process has asked for and trains together."""
        self._study, self._trials, self._stop = study, list(trials), None
        self._next_beat = self._clock() + self._config.beat_interval
        self._beat = 0
        self.give_time(len(trials))

    def give_time(self, n_trials: int) -> None:
        """Start the time of some of them, which are trained together and share it."""
        if self._stop is not None and self._stop[0] == "timeout":
            self._stop = None  # that was another's time
        self._started = self._clock()
        self._next_check = self._started + _STOP_CHECK_S
        self._n_together = n_trials

    @property
    def trials(self) -> list[optuna.Trial]:
        """The trials that have not ended."""
        return list(self._trials)

    def end(self, trial: optuna.Trial) -> None:
        """Watch a trial no longer."""
        self._trials = [other for other in self._trials if other is not trial]

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
        end_copy_of(self._pid)
        if self._signal is not None:
            raise StopRun("interrupted", self._signal)
        if self._stop is not None:
            raise StopRun(*self._stop)
        now = self._clock()
        if now < self._next_check or self._study is None:
            return
        self._next_check = now + _STOP_CHECK_S
        limit = self._config.trial_timeout
        if limit is not None:
            limit *= self._n_together
        if (reason := self.stop_reason(self._study)) is not None:
            self._stop = "interrupted", reason
        elif limit is not None and now - self._started >= limit:
            self._stop = "timeout", self._too_long(limit)
        if self._stop is not None:
            raise StopRun(*self._stop)  # and so for every trial that is trained together with it
        if now >= self._next_beat:
            self._beat += 1
            for trial in self._trials:
                self._show_progress(trial)
            self._next_beat = now + self._config.beat_interval

    def _too_long(self, limit_s: float) -> str:
        if self._n_together == 1:
            return f"the trial took longer than {limit_s:g} s"
        return f"{self._n_together} trials together took longer than {limit_s:g} s"

    def _show_progress(self, trial: optuna.Trial) -> None:
        try:
            trial.set_user_attr(BEAT, self._beat)
        except optuna.exceptions.UpdateFinishedTrialError:
            self.end(trial)  # given to another worker; its own next report will end it

    def on_signal(self, received: signal.Signals) -> None:
        """Let the first signal end the trial cleanly and the second one end it at once."""
        if self._signal is not None:
            raise KeyboardInterrupt
        self._signal = f"received {received.name}"
        if self._study is not None:
            stop_retrying(self._study)
