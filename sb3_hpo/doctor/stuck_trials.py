"""Running trials of this machine whose worker is gone: found, and given on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna.trial import TrialState

from sb3_hpo.results.trials import FIXED_PARAMS, REASON, WORKER
from sb3_hpo.workers.lost_trials import handle_loss, is_of_this_machine

if TYPE_CHECKING:
    from collections.abc import Iterable

    import optuna
    from optuna.trial import FrozenTrial


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

    def now(self) -> FrozenTrial:
        """Return the trial as it is now."""
        return self.study._storage.get_trial(self.trial._trial_id)

    def __str__(self) -> str:
        return f"trial {self.trial.number} of {self.study.study_name}"


def running_trials(studies: Iterable[optuna.Study]) -> list[RunningTrial]:
    """Return the running trials of studies."""
    running = (TrialState.RUNNING,)
    return [
        RunningTrial(study, trial)
        for study in studies
        for trial in study.get_trials(states=running)
    ]


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
