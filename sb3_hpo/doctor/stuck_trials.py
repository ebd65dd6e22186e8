"""Running trials whose worker is gone: told from those that are alive, and given on."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna.trial import TrialState

from sb3_hpo.doctor.contents import config_in
from sb3_hpo.results.trials import FIXED_PARAMS, REASON, WORKER
from sb3_hpo.utils.errors import UserError
from sb3_hpo.workers.lost_trials import handle_loss, is_of_this_machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import optuna
    from optuna.trial import FrozenTrial

_POLL_S = 0.5
# Of studies whose configuration names none.
_BEAT_S = 30.0
_STALE_AFTER_S = 300.0


@dataclass(frozen=True)
class RunningTrial:
    """A trial that was RUNNING when it was looked at.

    Attributes:
        study: Its study.
        trial: The trial as it was.
    """

    study: optuna.Study
    trial: FrozenTrial

    @property
    def worker(self) -> str | None:
        """Name of its worker; None if another tool runs it, or one that died at its start."""
        return self.trial.user_attrs.get(WORKER)

    @property
    def is_local(self) -> bool:
        """Whether its worker ran or runs on this machine."""
        return is_of_this_machine(self.worker)

    @property
    def has_beat(self) -> bool:
        """Whether it shows its progress while it is alive; other tools' trials need not."""
        return config_in(self.study) is not None

    def shows_life(self) -> bool:
        """Return whether anything about it has changed."""
        return _content(self.now()) != _content(self.trial)

    def now(self) -> FrozenTrial:
        """Return the trial as it is now."""
        return self.study._storage.get_trial(self.trial._trial_id)

    def __str__(self) -> str:
        return f"trial {self.trial.number} of {self.study.study_name}"


def _content(trial: FrozenTrial) -> str:
    """Return all that a worker can change; as text, for NaN is not equal to itself."""
    parts = (trial.state, trial.params, trial.user_attrs, trial.system_attrs)
    return repr((*parts, trial.intermediate_values))


def running_trials(studies: Iterable[optuna.Study]) -> list[RunningTrial]:
    """Return the running trials of studies."""
    running = (TrialState.RUNNING,)
    return [  # copies, which stay as they are
        RunningTrial(study, trial)
        for study in studies
        for trial in study.get_trials(states=running)
    ]


def check_wait(wait_s: float | None, studies: Iterable[optuna.Study]) -> None:
    """Refuse to take trials for dead that had no time to show life.

    Args:
        wait_s: How long they are to be watched, in seconds; 0: not at all; None: by default.
        studies: Their studies.

    Raises:
        UserError: It is shorter than a beat, or no time.
    """
    shortest = max((_beat_s(study) for study in studies), default=0.0)
    if wait_s is not None and wait_s != 0 and not shortest <= wait_s < math.inf:
        raise UserError(
            f"wait: `wait >= {shortest:g}` (seconds; the study's beat_interval) must hold, but "
            f"got {wait_s:g}; or 0 to watch nothing"
        )


def default_wait(running: Iterable[RunningTrial]) -> float:
    """Return how long running trials are watched, in seconds: as long as workers wait.

    Args:
        running: The trials; all have a beat.
    """
    configs = (config_in(item.study) or {} for item in running)
    return max(float(config.get("stale_after", _STALE_AFTER_S)) for config in configs)


def _beat_s(study: optuna.Study) -> float:
    """Return how often a living trial of the study shows itself; 0 if its tool does not say."""
    config = config_in(study)
    return 0.0 if config is None else float(config.get("beat_interval", _BEAT_S))


def watch(
    running: list[RunningTrial],
    wait_s: float,
    on_tick: Callable[[int, float], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[RunningTrial]:
    """Watch running trials for signs of life.

    Args:
        running: The trials.
        wait_s: For how long at most, in seconds; shorter if all show life before.
        on_tick: Called now and then with the number of trials still without a sign, and the
            seconds left.
        clock: Seconds; tests pass their own.
        sleep: Waits; tests pass their own.

    Returns:
        Those that showed none.
    """
    end = clock() + wait_s
    while running and (left := end - clock()) > 0:
        on_tick(len(running), left)
        sleep(min(_POLL_S, left))
        running = [item for item in running if not item.shows_life()]
    return running


def give_on(lost: RunningTrial) -> str:
    """Deal with a trial whose worker is gone, as workers deal with each other's.

    Args:
        lost: The trial.

    Returns:
        What was done, in words.
    """
    if not handle_loss(lost.study, lost.trial):
        return "it has ended meanwhile"
    ended = lost.now()
    if ended.state is TrialState.PRUNED:
        return f"written off: {ended.user_attrs.get(REASON)}"
    if ended.params or FIXED_PARAMS in ended.system_attrs:
        return "failed; its parameters wait for another worker"
    return "failed; it had no parameters yet"
