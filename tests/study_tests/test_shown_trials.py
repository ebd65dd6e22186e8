from __future__ import annotations

import math
from typing import Literal

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from sb3_hpo.study.sampling.shown_trials import ShownStudy, without_constraints

COMPLETE, PRUNED, RUNNING, FAIL = (
    TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.FAIL
)  # fmt: skip


def trial(
    state: TrialState,
    *curve: float,
    value: float | None = None,
    constraint: float | None = None,
    sampled: bool = True,
) -> FrozenTrial:
    return create_trial(
        state=state,
        value=value,
        params={"x": 0.5} if sampled else {},
        distributions={"x": FloatDistribution(0.0, 1.0)} if sampled else {},
        intermediate_values=dict(enumerate(curve)),
        constraints=None if constraint is None else {"oom": constraint},
        system_attrs={"cma:generation": 3},
    )


TRIALS = [
    trial(COMPLETE, 1.0, 9.0, value=5.0),
    trial(PRUNED, 8.0, 2.0),
    trial(PRUNED, 7.0, 3.0, constraint=1.0),
    trial(PRUNED, 4.0, constraint=0.0),
    trial(PRUNED),
    trial(PRUNED, 1.0, math.nan),
    trial(PRUNED, constraint=1.0, sampled=False),
    trial(FAIL, 6.0),
    trial(RUNNING, 6.0),
]


@pytest.mark.parametrize(("direction", "worst"), [("maximize", 2.0), ("minimize", 5.0)])
def test_shown_study_pruned_and_infeasible_trials_look_complete(
    direction: Literal["minimize", "maximize"], worst: float
) -> None:
    study = optuna.create_study(direction=direction)
    study.add_trials(TRIALS)
    shown = ShownStudy(study).get_trials(deepcopy=False, states=(COMPLETE, RUNNING))
    assert [(each.number, each.state) for each in shown] == [
        *((number, COMPLETE) for number in range(6)), (8, RUNNING)
    ]  # fmt: skip
    assert [each.value for each in shown[:6]] == [5.0, 2.0, worst, 4.0, worst, worst]
    assert [each.constraints for each in shown] == [{}] * 7
    assert {each.system_attrs["cma:generation"] for each in shown} == {3}


def test_shown_study_leaves_the_study_as_it_is() -> None:
    study = optuna.create_study()
    study.add_trials(TRIALS)
    ShownStudy(study).get_trials(deepcopy=False)
    assert [each.state for each in study.trials] == [each.state for each in TRIALS]
    assert study.trials[2].constraints == {"oom": 1.0}


def test_shown_study_without_any_value_shows_all_as_equal() -> None:
    study = optuna.create_study()
    study.add_trials([trial(PRUNED, constraint=1.0), trial(PRUNED)])
    shown = ShownStudy(study).trials
    assert [each.value for each in shown] == [0.0, 0.0]


def test_without_constraints_copies() -> None:
    given = trial(PRUNED, constraint=1.0)
    assert without_constraints(given).constraints == {}
    assert given.constraints == {"oom": 1.0}
