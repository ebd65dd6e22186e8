"""What a study's trials say about themselves: names of their attributes, and counts.

Needs no training stack, so that reports can be made anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

from sb3_hpo.results.run_record import RunRecord

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial


FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)

# Study user attributes.
CONFIG = "config"  # the configuration, for workers and for resuming
STOP = "stop"  # why all workers should stop, or None
STOPPED = "stopped with --stop"  # the user's own reason
TIME_OVER = "the study's --timeout is over"
USED_UP = "the sampler has nothing left to try"
OWNER = "home"  # host and run folder where it was created, and where its answer is written
LOSS_CHECK = "loss_check"  # numbers of the trials that were last found without a worker
SESSION_START = "session_start"  # when the command was last started, ISO 8601

FIXED_PARAMS = "fixed_params"  # system attribute: what an enqueued trial must try (Optuna's)

# Trial user attributes.
RUN = "run"  # the RunRecord
SEED_CURVES = "seed_curves"  # values of the evaluations of each training seed, where several
OUTCOME = "outcome"  # how it ended: finished, dropped, diverged, oom, timeout, lost, ...
REASON = "reason"  # why, in words
ERROR = "error"  # type and message of an exception
ERROR_SITE = "error_site"  # file and line that raised it
TRACEBACK = "traceback"  # the whole of it
WORKER = "worker"  # name of the worker that runs it
BEAT = "beat"  # advances while the trial makes progress
N_LOSSES = "n_losses"  # how often these parameters lost their worker
RETRY_OF = "retry_of"  # number of the trial that this one repeats
SOURCE = "source"  # where an enqueued trial comes from: DEFAULT_POINT, a file, ...
KWARGS_OVERRIDE = "kwargs_override"  # train with exactly these, whatever was sampled

DEFAULT_POINT = "default_point"  # source: the point of the space that is next to SB3's defaults


@dataclass(frozen=True)
class Counts:
    """How many trials there are of each kind.

    Attributes:
        finished: COMPLETE or PRUNED: what `--n-trials` counts.
        complete: COMPLETE.
        pruned: PRUNED by the pruner.
        infeasible: PRUNED because diverged, out of memory, over time, or lost.
        failed: FAIL through an error of the environment or the code.
        running: RUNNING.
        waiting: WAITING.
    """

    finished: int
    complete: int
    pruned: int
    infeasible: int
    failed: int
    running: int
    waiting: int


def count_trials(trials: list[FrozenTrial]) -> Counts:
    """Count trials by what became of them.

    Args:
        trials: All trials of a study.

    Returns:
        The counts; trials that failed by interruption or as surplus are in none of them.
    """
    states = [trial.state for trial in trials]
    pruned = [trial for trial in trials if trial.state is TrialState.PRUNED]
    # Other tools note no outcome, and their pruned trials were pruned.
    infeasible = sum(outcome_of(trial) not in ("dropped", None) for trial in pruned)
    return Counts(
        finished=sum(state in FINISHED for state in states),
        complete=states.count(TrialState.COMPLETE),
        pruned=len(pruned) - infeasible,
        infeasible=infeasible,
        failed=sum(outcome_of(trial) == "error" for trial in trials),
        running=states.count(TrialState.RUNNING),
        waiting=states.count(TrialState.WAITING),
    )


def outcome_of(trial: FrozenTrial) -> Any:
    """Return the recorded outcome of a trial, or None while it has none."""
    return trial.user_attrs.get(OUTCOME)


def enqueued_point(trial: FrozenTrial) -> tuple[str, dict[str, Any]] | None:
    """Return where an enqueued trial comes from and its parameters; None for any other trial.

    Args:
        trial: The trial; one that repeats another is not what was enqueued.
    """
    if SOURCE not in trial.user_attrs or RETRY_OF in trial.user_attrs:
        return None
    return trial.user_attrs[SOURCE], trial.system_attrs[FIXED_PARAMS]


def is_default_point(trial: FrozenTrial) -> bool:
    """Tell whether a trial is the point of the space that is next to SB3's defaults."""
    return trial.user_attrs.get(SOURCE) == DEFAULT_POINT


def trials_of(study: optuna.Study) -> list[FrozenTrial]:
    """Return the study's trials as they are now, without copying them."""
    return study.get_trials(deepcopy=False)


def record_of(trial: FrozenTrial) -> RunRecord | None:
    """Return the record of a trial's run, or None if it left none."""
    if RUN not in trial.user_attrs:
        return None
    try:
        return RunRecord.from_dict(trial.user_attrs[RUN])
    except ValueError:
        return None  # another tool calls something of its own "run"


def arguments_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return what a trial's algorithm was given; of another tool's trial its parameters."""
    record = record_of(trial)
    return trial.params if record is None else record.kwargs


def best_trials(study: optuna.Study, n: int | None = None) -> list[FrozenTrial]:
    """Return the feasible COMPLETE trials with the largest values.

    Args:
        n: How many at most; default: all.

    Returns:
        The best first; of equal ones the earlier first. PRUNED trials have no comparable value.
        A trial that breaks a constraint of its study is left out, as by `study.best_trial`.
    """
    feasible = [
        trial
        for trial in trials_of(study)
        if trial.state is TrialState.COMPLETE
        and all(excess <= 0.0 for excess in trial.constraints.values())
    ]
    return sorted(feasible, key=lambda trial: (-(trial.value or 0.0), trial.number))[:n]


def mark_infeasible(trial: optuna.Trial, outcome: str, reason: str | None) -> None:
    """Note why a trial has no proper value, so that samplers keep away from its region.

    PRUNED alone rewards late divergence (half of the last trials of a study diverged, against a
    quarter with the constraint); FAIL is forgotten by TPE, which then comes back (52 of 60).

    Args:
        trial: The trial, to be told PRUNED afterwards.
        outcome: `diverged`, `oom`, `timeout`, `lost`: also the constraint's name.
        reason: What happened, in words.
    """
    trial.set_user_attr(OUTCOME, outcome)
    trial.set_user_attr(REASON, reason)
    trial.set_constraint(outcome, 1.0)
