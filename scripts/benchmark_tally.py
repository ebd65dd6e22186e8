"""What a search has done, counted from the trials that it stored itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna.trial import TrialState

from sb3_hpo.results.trials import FINISHED, RUN, SEED_CURVES
from scripts.benchmark_tutorial import TRAINED_STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optuna.trial import FrozenTrial


class SearchProblem(Exception):  # noqa: N818 - what the table says instead of numbers
    """Why there are no numbers of a search."""


@dataclass(frozen=True)
class Effort:
    """What one trial was.

    Attributes:
        n_trials: 1, or 0 for a trial that did not come to its end.
        n_runs: Training runs that came to their ends, or were pruned.
        n_steps: Environment steps of training; None if they are not recorded.
    """

    n_trials: int
    n_runs: int
    n_steps: int | None


@dataclass(frozen=True)
class Tally:
    """What a search has done.

    Attributes:
        n_trials: Trials that were completed, pruned, or diverged.
        n_runs: Training runs likewise.
        n_steps: Environment steps of training, as far as they are recorded.
        n_unrecorded: Trials whose steps are not.
        seconds: From the start of the process to the end of the last trial that counts.
    """

    n_trials: int
    n_runs: int
    n_steps: int
    n_unrecorded: int
    seconds: float


def tally(
    trials: Sequence[FrozenTrial], start: float, effort: Callable[[FrozenTrial], Effort | None]
) -> Tally:
    """Count what a search's trials were.

    Args:
        start: When the search's process was started, in seconds since the epoch.
        effort: Returns what a trial was; None if it does not count.

    Raises:
        SearchProblem: No trial counts.
    """
    counted = [(trial, item) for trial in trials if (item := effort(trial)) is not None]
    ends = [t.datetime_complete.timestamp() for t, _ in counted if t.datetime_complete is not None]
    if not ends:
        raise SearchProblem(f"none of its {len(trials)} trials came to its end")
    return Tally(
        n_trials=sum(item.n_trials for _, item in counted),
        n_runs=sum(item.n_runs for _, item in counted),
        n_steps=sum(item.n_steps or 0 for _, item in counted),
        n_unrecorded=sum(item.n_steps is None for _, item in counted),
        seconds=max(ends) - start,
    )


def tutorial_effort(trial: FrozenTrial) -> Effort | None:
    """Return what a trial of `benchmark_tutorial` was; one that diverged has failed there."""
    n_steps = trial.user_attrs.get(TRAINED_STEPS)
    return None if n_steps is None or not trial.state.is_finished() else Effort(1, 1, n_steps)


def zoo_effort(trial: FrozenTrial, n_envs: int, n_timesteps: int) -> Effort | None:
    """Return what a trial of RL Zoo's PPO was.

    RL Zoo stores no step counts, but what it stores determines them: a complete run is the least
    number of whole rollouts that reach the budget, and a pruned one ended with the evaluation
    that it reported last, inside a rollout.

    Args:
        n_envs: Training environments of one run.
        n_timesteps: The budget.

    Returns:
        The effort, without steps for a run that diverged: it was pruned before any evaluation.
    """
    if trial.state is TrialState.COMPLETE:
        rollout = trial.user_attrs["n_steps"] * n_envs
        return Effort(1, 1, -(-n_timesteps // rollout) * rollout)
    if trial.state is not TrialState.PRUNED:
        return None
    if trial.last_step is None:
        return Effort(1, 1, None)
    n_evaluations = max(1, n_timesteps // 100_000)  # RL Zoo's default
    calls = max(n_timesteps // n_evaluations // n_envs, 1)
    return Effort(1, 1, trial.last_step * calls * n_envs)


def our_effort(trial: FrozenTrial) -> Effort | None:
    """Return what a trial of sb3_hpo was; one that the end of the time interrupted has steps."""
    record = trial.user_attrs.get(RUN)
    n_steps = None if record is None else int(record["n_steps"])
    if trial.state in FINISHED:
        return Effort(1, max(1, len(trial.user_attrs.get(SEED_CURVES, ()))), n_steps)
    return Effort(0, 0, n_steps) if record is not None else None
