"""Trials whose worker is gone: noticed by anyone, given to another worker, never counted twice.

A running trial carries a counter, its beat, that its worker advances while the trial makes
progress. Observers time the beat by their own clock, so machines need not agree on the time.
It works on every storage; Optuna's own heartbeat does not exist for journals.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import optuna
import psutil
from optuna.trial import TrialState

from sb3_hpo.results.trials import (
    BEAT,
    FIXED_PARAMS,
    KWARGS_OVERRIDE,
    LOSS_CHECK,
    N_LOSSES,
    OUTCOME,
    RETRY_OF,
    SOURCE,
    WORKER,
    mark_infeasible,
    trials_of,
)
from sb3_hpo.storages.retrying import outages

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna.trial import FrozenTrial

    from sb3_hpo.config.study_config import StudyConfig

MAX_LOSSES = 2  # a third loss looks like the parameters' own fault: an OOM kill, a crash in C
_INHERITED = (SOURCE, KWARGS_OVERRIDE, N_LOSSES)


def hand_back(
    study: optuna.Study, trial: FrozenTrial, outcome: str, *, n_losses: int | None = None
) -> bool:
    """Fail a running trial and enqueue its parameters for another try.

    Args:
        trial: The running trial, of this or another process.
        outcome: `lost`, `interrupted` or `surplus`, for its record.
        n_losses: How often these parameters have now lost their worker; default: as before.

    Returns:
        False if another process was faster; then nothing is enqueued.
    """
    if not _end(study, trial, TrialState.FAIL, lambda live: live.set_user_attr(OUTCOME, outcome)):
        return False
    # A trial that had not sampled yet holds its enqueued parameters in a system attribute.
    params = {**trial.system_attrs.get(FIXED_PARAMS, {}), **trial.params}
    if params:
        attrs = {key: trial.user_attrs[key] for key in _INHERITED if key in trial.user_attrs}
        if n_losses is not None:
            attrs[N_LOSSES] = n_losses
        attrs[RETRY_OF] = trial.user_attrs.get(RETRY_OF, trial.number)
        study.enqueue_trial(params, user_attrs=attrs)
    return True


def write_off(study: optuna.Study, trial: FrozenTrial, outcome: str, reason: str) -> bool:
    """Prune a running trial of another process, with a constraint that keeps samplers away.

    Args:
        trial: The running trial.
        outcome: `lost` or `timeout`.
        reason: What happened, in words.

    Returns:
        False if another process was faster.
    """
    return _end(
        study, trial, TrialState.PRUNED, lambda live: mark_infeasible(live, outcome, reason)
    )


def handle_loss(study: optuna.Study, trial: FrozenTrial) -> bool:
    """Deal with a running trial whose worker is gone: hand back, or after two losses write off.

    Args:
        trial: The running trial.

    Returns:
        False if another process was faster.
    """
    n_losses = trial.user_attrs.get(N_LOSSES, 0) + 1
    if n_losses > MAX_LOSSES:
        return write_off(study, trial, "lost", f"its worker was lost {n_losses} times")
    return hand_back(study, trial, "lost", n_losses=n_losses)


def _end(
    study: optuna.Study,
    trial: FrozenTrial,
    state: TrialState,
    note: Callable[[optuna.Trial], None],
) -> bool:
    """Note something on a running trial, then end it."""
    # A trial object of our own, whose study must not ask the real sampler for a next point.
    bystander = optuna.load_study(
        study_name=study.study_name,
        storage=study._storage,
        sampler=optuna.samplers.RandomSampler(),
    )
    try:
        note(optuna.Trial(bystander, trial._trial_id))
        bystander.tell(trial.number, state=state)
    except (optuna.exceptions.UpdateFinishedTrialError, ValueError):
        if _state_now(study, trial.number) is TrialState.RUNNING:
            raise  # not a lost race, but a bug
        return False
    return True


def _state_now(study: optuna.Study, number: int) -> TrialState:
    return trials_of(study)[number].state


def living_workers() -> set[str]:
    """Return the names of the workers that are processes of this machine now."""
    names = set()
    for process in psutil.process_iter(["cmdline"]):
        arguments = process.info["cmdline"] or []  # none: it has ended, or is not ours to see
        if "sb3_hpo.workers" in arguments and "--name" in arguments[:-1]:
            names.add(arguments[arguments.index("--name") + 1])
    return names


def is_of_this_machine(worker: str | None) -> bool:
    """Return whether a worker of this name runs on this machine, or did."""
    return worker is not None and worker.split(":")[0] == socket.gethostname()


def take_back_orphans(study: optuna.Study) -> list[int]:
    """Deal with running trials of this machine whose worker is no process any more.

    Of what a command left that was killed; other machines' trials have to be waited for.

    Returns:
        Their numbers.
    """
    running = [trial for trial in trials_of(study) if trial.state is TrialState.RUNNING]
    alive = living_workers()  # after the trials: a worker that has just begun one is seen
    dead = [
        trial
        for trial in running
        if is_of_this_machine(worker := trial.user_attrs.get(WORKER)) and worker not in alive
    ]
    return [trial.number for trial in dead if handle_loss(study, trial)]


class StaleTrials:
    """Watches the running trials of a study for beats that stopped."""

    def __init__(self, config: StudyConfig, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare.

        Args:
            config: Says how long a trial may show no progress.
            clock: Seconds; tests pass their own.
        """
        self._config = config
        self._clock = clock
        self._seen: dict[int, tuple[Any, float]] = {}  # number -> beat, when first seen so
        self._n_outages = 0

    def find(self, trials: list[FrozenTrial], n_outages: int = 0) -> list[FrozenTrial]:
        """Return the running trials whose beat has stood still for too long.

        Args:
            trials: All trials of the study, as they are now.
            n_outages: How often the storage was away so far. Nobody could beat meanwhile, so
                everybody's time begins anew.
        """
        if n_outages != self._n_outages:
            self._n_outages, self._seen = n_outages, {}
        running = {t.number: t for t in trials if t.state is TrialState.RUNNING}
        self._seen = {number: seen for number, seen in self._seen.items() if number in running}
        return [trial for trial in running.values() if self._is_stale(trial)]

    def _is_stale(self, trial: FrozenTrial) -> bool:
        now, state = self._clock(), (trial.user_attrs.get(WORKER), trial.user_attrs.get(BEAT))
        before, since = self._seen.setdefault(trial.number, (state, now))
        if before != state:
            self._seen[trial.number] = (state, now)
            return False
        return now - since >= self._config.stale_after


def find_lost(
    study: optuna.Study, stale: StaleTrials, trials: list[FrozenTrial]
) -> list[FrozenTrial]:
    """Return the running trials whose workers are gone.

    A full disk can be read and not written: then nobody beats, and everybody looks lost. So
    whoever finds a stale trial first writes something, and forgets it if that had to wait.

    Args:
        stale: Watches it.
        trials: All its trials, as they are now.
    """
    n_outages = outages(study)
    found = stale.find(trials, n_outages)
    if found:
        study.set_user_attr(LOSS_CHECK, [trial.number for trial in found])
    return found if outages(study) == n_outages else []
