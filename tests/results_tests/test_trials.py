from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from sb3_hpo.results.trials import Counts, count_trials, outcome_of, trials_of

NONE = Counts(0, 0, 0, 0, 0, 0, 0)


def trial(state: TrialState, outcome: str | None = None) -> FrozenTrial:
    attrs: dict[str, Any] = {} if outcome is None else {"outcome": outcome}
    value = 1.0 if state is TrialState.COMPLETE else None
    return create_trial(state=state, value=value, user_attrs=attrs)


def test_count_trials_without_trials_counts_nothing() -> None:
    assert count_trials([]) == NONE


def test_count_trials_mixed_list_counts_each_kind() -> None:
    trials = [
        *[trial(TrialState.COMPLETE, "finished")] * 3,
        *[trial(TrialState.PRUNED, "dropped")] * 2,
        *[trial(TrialState.PRUNED, name) for name in ("diverged", "oom", "timeout", "lost")],
        *[trial(TrialState.FAIL, "error")] * 2,
        *[trial(TrialState.FAIL, name) for name in ("interrupted", "lost", "surplus")],
        *[trial(TrialState.RUNNING)] * 5,
        trial(TrialState.WAITING),
    ]
    assert count_trials(trials) == Counts(
        finished=9, complete=3, pruned=2, infeasible=4, failed=2, running=5, waiting=1
    )


@pytest.mark.parametrize("outcome", ["interrupted", "lost", "surplus"])
def test_count_trials_failed_for_no_fault_of_its_own_is_in_no_count(outcome: str) -> None:
    assert count_trials([trial(TrialState.FAIL, outcome)]) == NONE


def test_outcome_of_running_trial_is_none() -> None:
    assert outcome_of(trial(TrialState.RUNNING)) is None
    assert outcome_of(trial(TrialState.PRUNED, "oom")) == "oom"


def test_trials_of_study_has_all_states() -> None:
    study = optuna.create_study()
    study.ask()
    study.tell(study.ask(), 1.0)
    study.enqueue_trial({"x": 1.0})
    states = [each.state for each in trials_of(study)]
    assert states == [TrialState.RUNNING, TrialState.COMPLETE, TrialState.WAITING]
