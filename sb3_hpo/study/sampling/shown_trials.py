"""A study as samplers see it that learn from finished, feasible trials only."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import optuna
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.trial import TrialState

if TYPE_CHECKING:
    from collections.abc import Container

    from optuna.trial import FrozenTrial


class ShownStudy(optuna.Study):
    """The same study, whose pruned and infeasible trials look finished and feasible.

    Optuna 5's `GPSampler` reads COMPLETE trials alone, and `CmaEsSampler` no constraints. Of a
    study that prunes three trials in four they see a quarter, and come back to the same point and
    to infeasible regions, which look empty to them.
    """

    def __init__(self, study: optuna.Study) -> None:
        """Share everything with the study, its thread's cache of trials too."""
        vars(self).update(vars(study))

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        trials = super()._get_trials(deepcopy, None, use_cache)
        values = {trial.number: _value(trial) for trial in trials if _is_shown(trial)}
        known = [value for value in values.values() if math.isfinite(value)]
        minimises = self.direction is optuna.study.StudyDirection.MINIMIZE
        worst = (max if minimises else min)(known, default=0.0)
        shown = [
            _as_complete(trial, value if math.isfinite(value) else worst)
            if (value := values.get(trial.number)) is not None
            else trial
            for trial in trials
        ]
        return [trial for trial in shown if states is None or trial.state in states]


def without_constraints(trial: FrozenTrial) -> FrozenTrial:
    """Return a copy that looks feasible.

    Args:
        trial: The trial; it stays as it is.
    """
    shown = copy.copy(trial)
    shown.system_attrs = {
        key: value
        for key, value in trial.system_attrs.items()
        if key.partition(":")[0] != _CONSTRAINTS_KEY
    }
    return shown


def _is_shown(trial: FrozenTrial) -> bool:
    # One that ended before it was sampled would leave no parameter that all have in common.
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) and bool(trial.params)


def _value(trial: FrozenTrial) -> float:
    """Return a trial's value, or its last one before it was pruned; NaN: as bad as the worst."""
    if any(violation > 0 for violation in trial.constraints.values()):
        return math.nan
    if trial.state is TrialState.COMPLETE and trial.value is not None:
        return trial.value
    _, last = max(trial.intermediate_values.items(), default=(0, math.nan))
    return last


def _as_complete(trial: FrozenTrial, value: float) -> FrozenTrial:
    shown = without_constraints(trial)
    shown.state = TrialState.COMPLETE
    shown.value = value
    return shown
