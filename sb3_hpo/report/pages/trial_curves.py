"""How the trials of a study went, read once for tables and pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from optuna.trial import TrialState

from sb3_hpo.results.trials import (
    DEFAULT_POINT,
    SOURCE,
    best_trials,
    outcome_of,
    record_of,
    trials_of,
)

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from sb3_hpo.results.study_result import StudyResult

Kind = Literal["complete", "pruned", "infeasible", "running", "failed"]


@dataclass(frozen=True)
class TrialCurve:
    """How one trial went.

    Attributes:
        number: The trial.
        kind: What became of it.
        is_default: Whether it is the default point of the search space.
        steps: Grid steps of its evaluations, in environment steps.
        values: Its learning curve; finite numbers only.
        value: The trial value; None unless it is COMPLETE.
        n_steps: Environment steps it spent; None where no record says so.
        seconds: Wall time it spent, likewise.
        outcome: The recorded outcome, or the name of its state.
    """

    number: int
    kind: Kind
    is_default: bool
    steps: tuple[int, ...]
    values: tuple[float, ...]
    value: float | None
    n_steps: int | None
    seconds: float | None
    outcome: str


@dataclass(frozen=True)
class SearchHistory:
    """What all figures of the search need.

    Attributes:
        curves: One a trial, in order of completion; unfinished ones last.
        leader: Number of the winner, or of the best trial while there is no winner; None
            without a COMPLETE trial.
        winner_known: Whether the leader was chosen and re-evaluated.
        quantity: What is maximised: "return", or the name of the metric.
    """

    curves: tuple[TrialCurve, ...] = field(repr=False)
    leader: int | None
    winner_known: bool
    quantity: str

    @property
    def step(self) -> str:
        """What a step of a learning curve is: known only where there are records."""
        recorded = any(curve.n_steps is not None for curve in self.curves)
        return "environment steps of the trial" if recorded else "step, as the trial reported it"

    def candidate_name(self, trial: int | None) -> str:
        """Return a trial's name without its rank; None stands for SB3's default."""
        return "SB3's default" if trial is None else f"trial {trial}"

    def name(self, curve: TrialCurve) -> str:
        """Return a trial's name with its rank, if it leads."""
        if curve.number == self.leader:
            return f"trial {curve.number} ({'winner' if self.winner_known else 'best so far'})"
        return "default point" if curve.is_default else f"trial {curve.number}"


def read_history(
    study: optuna.Study, result: StudyResult, metric: str | None = None
) -> SearchHistory:
    """Read what the figures need, once.

    Args:
        study: The study, also a running one, also one of another tool.
        result: What is known.
        metric: What was maximised, if not the return.
    """
    trials = sorted(trials_of(study), key=_completion)
    best = best_trials(study, 1)
    leader = best[0].number if best else None
    if result.winner is not None:
        leader = result.winner.candidate.trial
    return SearchHistory(
        curves=tuple(map(_course, trials)),
        leader=leader,
        winner_known=result.winner is not None,
        quantity=metric or "return",
    )


def _completion(trial: FrozenTrial) -> tuple[bool, float, int]:
    done = trial.datetime_complete
    return done is None, 0.0 if done is None else done.timestamp(), trial.number


def _course(trial: FrozenTrial) -> TrialCurve:
    record = record_of(trial)
    if record is None:
        points = sorted(trial.intermediate_values.items())
    else:
        points = [(e.nominal_step, e.value) for e in record.evaluations]
    points = [(step, value) for step, value in points if math.isfinite(value)]
    complete = trial.state is TrialState.COMPLETE
    value = trial.value if complete and math.isfinite(trial.value or 0.0) else None
    return TrialCurve(
        number=trial.number,
        kind=_kind(trial),
        is_default=trial.user_attrs.get(SOURCE) == DEFAULT_POINT,
        steps=tuple(step for step, _ in points),
        values=tuple(value for _, value in points),
        value=value,
        n_steps=None if record is None else record.n_steps,
        seconds=None if record is None else record.seconds,
        outcome=str(outcome_of(trial) or trial.state.name.lower()),
    )


def _kind(trial: FrozenTrial) -> Kind:
    if trial.state is TrialState.COMPLETE:
        return "complete"
    if trial.state is TrialState.PRUNED:
        # Studies of other tools record no outcome: there, PRUNED means what Optuna means.
        return "pruned" if outcome_of(trial) in (None, "dropped") else "infeasible"
    return "failed" if trial.state is TrialState.FAIL else "running"
