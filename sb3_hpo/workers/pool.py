"""Worker processes on this machine: started, replaced when they die, stopped when asked."""

from __future__ import annotations

import json
import math
import os
import socket
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from optuna.trial import TrialState

from sb3_hpo.results.trials import FINISHED, RUN, WORKER, trials_of
from sb3_hpo.storages.retrying import stop_retrying
from sb3_hpo.utils.processes import DONE, STORAGE, start_module, stop_signals
from sb3_hpo.workers.lost_trials import StaleTrials, find_lost, hand_back, handle_loss, write_off

if TYPE_CHECKING:
    import signal
    import subprocess
    from collections.abc import Callable

    import optuna
    from optuna.trial import FrozenTrial

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.storages.study_location import StudyLocation

_POLL_S = 0.3
_MAX_DEATHS = 3
_GRACE_S = 15.0  # what a worker gets to end a trial itself: an over-long one, an interrupted one


@dataclass
class _Worker:
    """One place for a worker process; its processes come and go."""

    index: int
    log: IO[bytes]
    process: subprocess.Popen[bytes]
    name: str
    n_deaths: int = 0  # in a row, without progress
    n_trained: int = 0  # trials that were trained to their end in the study, at its last death


@dataclass
class WorkersResult:
    """How the workers ended.

    Attributes:
        signal: The signal that ended them, or None.
        problem: Why one of them was not started again, or None.
    """

    signal: signal.Signals | None = None
    problem: str | None = None


class Workers:
    """The worker processes of one study on this machine."""

    def __init__(
        self,
        study: optuna.Study,
        config: StudyConfig,
        location: StudyLocation,
        deadline: float | None,
    ) -> None:
        """Prepare; nothing is started yet.

        Args:
            study: The study, opened in this process, to look after lost trials.
            location: Where it lives.
            deadline: When the search ends, in seconds since the epoch.
        """
        self._study, self._config, self._place = study, config, location
        self._deadline = deadline
        self._stale = StaleTrials(config)
        self._result = WorkersResult()
        self._interrupted = math.inf  # when, by the monotonic clock

    def run(self, n_workers: int, on_tick: Callable[[], None]) -> WorkersResult:
        """Start workers and look after them until all have ended.

        Args:
            n_workers: How many.
            on_tick: Called a few times a second, to show progress.

        Returns:
            How they ended.
        """
        received: list[signal.Signals] = []
        workers: list[_Worker] = []

        def take(number: signal.Signals) -> None:
            received.append(number)
            stop_retrying(self._study)

        with stop_signals(take):
            try:
                workers = [self._start(index) for index in range(n_workers)]
                while workers:
                    self._obey(received, workers)
                    workers = [worker for worker in workers if self._tend(worker)]
                    on_tick()
                    time.sleep(_POLL_S)
            finally:
                self._kill(workers)
        return self._result

    def _start(self, index: int) -> _Worker:
        log = (self._place.run_dir / f"worker-{index}.log").open("ab")
        name = f"{socket.gethostname()}:{index}:{uuid.uuid4().hex[:8]}"
        return _Worker(index, log, self._spawn(name, log), name)

    def _spawn(self, name: str, log: IO[bytes]) -> subprocess.Popen[bytes]:
        location = self._place
        arguments = ["--config", json.dumps(self._config.plain()),
                     "--study-name", location.name, "--run-dir", str(location.run_dir),
                     "--name", name, "--parent", str(os.getpid())]  # fmt: skip
        if self._deadline is not None:
            arguments += ["--deadline", str(self._deadline)]
        return start_module(
            "sb3_hpo.workers", arguments,
            n_threads=self._config.n_threads, log=log, variables={STORAGE: location.address.text},
        )  # fmt: skip

    def _obey(self, received: list[signal.Signals], workers: list[_Worker]) -> None:
        """Pass signals on: the first asks the workers to end, the second kills them.

        So does time: an interrupted trial is trained again in any case, so that a worker that
        hangs in a step is not worth waiting for.
        """
        if received and self._result.signal is None:
            self._result.signal, self._interrupted = received[0], time.monotonic()
            for worker in workers:
                worker.process.terminate()
        if len(received) > 1 or time.monotonic() > self._interrupted + _GRACE_S:
            for worker in workers:
                worker.process.kill()

    def _tend(self, worker: _Worker) -> bool:
        """Look after one worker; return whether it is still there."""
        status = worker.process.poll()
        if status is None:
            self._kill_if_hung(worker)
            return True
        self._take_back_trials(worker)
        if status != DONE and self._result.signal is None:
            worker.n_deaths = 1 if self._has_progressed(worker) else worker.n_deaths + 1
            if worker.n_deaths < _MAX_DEATHS:
                worker.name = f"{worker.name.rpartition(':')[0]}:{uuid.uuid4().hex[:8]}"
                worker.process = self._spawn(worker.name, worker.log)
                return True
            self._result.problem = (
                f"worker {worker.index} died {_MAX_DEATHS} times in a row without finishing a "
                f"trial (exit status {status}{_last_words(worker.log)}); see {worker.log.name}"
            )
        worker.log.close()
        return False

    def _kill_if_hung(self, worker: _Worker) -> None:
        """Kill a worker whose trial is over its time or shows no progress; it is replaced."""
        trials = trials_of(self._study)
        own = [
            trial for trial in self._running(trials) if trial.user_attrs.get(WORKER) == worker.name
        ]
        if own and (limit := self._config.trial_timeout) is not None:
            n_together = _count_together(own, trials)
            if max(map(_age, own)) > limit * n_together + _GRACE_S:
                worker.process.kill()
                if n_together == 1:
                    write_off(self._study, own[0], "timeout", f"hung; killed after {limit:g} s")
                else:  # nobody knows which of them it was: each is tried again alone
                    self._take_back_trials(worker)
        for trial in find_lost(self._study, self._stale, trials):
            if trial in own:
                worker.process.kill()
            handle_loss(self._study, trial)

    def _take_back_trials(self, worker: _Worker) -> None:
        """Give a dead worker's trial on."""
        for trial in self._running(trials_of(self._study)):
            if trial.user_attrs.get(WORKER) != worker.name:
                continue
            if self._result.signal is not None:  # killed by the user's second signal
                hand_back(self._study, trial, "interrupted")
            else:
                handle_loss(self._study, trial)

    def _has_progressed(self, worker: _Worker) -> bool:
        """Return whether a trial came to its end since the worker's last death.

        Also one that was written off because it killed the worker counts, where others were
        trained. Where none was, everything kills workers, and starting more would never end.
        """
        finished = [trial for trial in trials_of(self._study) if trial.state in FINISHED]
        n_trained = sum(RUN in trial.user_attrs for trial in finished)
        before, worker.n_trained = worker.n_trained, n_trained
        own = any(trial.user_attrs.get(WORKER) == worker.name for trial in finished)
        return n_trained > before or (n_trained > 0 and own)

    def _running(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        return [trial for trial in trials if trial.state is TrialState.RUNNING]

    def _kill(self, workers: list[_Worker]) -> None:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()
            worker.log.close()
        for worker in workers:  # may raise where the storage is away, so after all are dead
            self._take_back_trials(worker)


def _last_words(log: IO[bytes]) -> str:
    """Return what a worker said of a mistake of the user before it ended, or nothing."""
    last = Path(log.name).read_text(errors="replace").splitlines()[-1:]
    return f", {last[0]}" if last and last[0].startswith("error: ") else ""


def _count_together(own: list[FrozenTrial], trials: list[FrozenTrial]) -> int:
    """Count the trials that a worker has asked for together with those that it runs now."""
    start = min(trial.datetime_start for trial in own if trial.datetime_start is not None)
    name = own[0].user_attrs[WORKER]
    return sum(
        trial.user_attrs.get(WORKER) == name
        and (trial.datetime_complete is None or trial.datetime_complete >= start)
        for trial in trials
    )


def _age(trial: FrozenTrial) -> float:
    if trial.datetime_start is None:
        return 0.0
    return time.time() - trial.datetime_start.timestamp()
