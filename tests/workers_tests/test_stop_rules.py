from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from sb3_hpo.results.trials import STOP, STOPPED, count_trials, trials_of
from sb3_hpo.workers.stop_rules import enough_found, stop_if_enough
from sb3_hpo.workers.trial_monitor import TrialMonitor
from tests.support.reevaluations import small_config, study_of
from tests.workers_tests.test_loop import Clock, config, work

if TYPE_CHECKING:
    from pathlib import Path

    import optuna

    from sb3_hpo.study.objective import Objective

START = datetime(2026, 1, 1)  # noqa: DTZ001 - as Optuna's


def ended(value: float | None, minute: int, **attrs: Any) -> FrozenTrial:
    """Return a trial that ended then: COMPLETE with a value, otherwise PRUNED."""
    state = TrialState.PRUNED if value is None else TrialState.COMPLETE
    trial = create_trial(state=state, value=value, **attrs)
    trial.datetime_complete = START + timedelta(minutes=minute)
    return trial


@pytest.mark.parametrize(
    ("stop_at", "reason"),
    [
        (475, "--stop-at 475 is reached: trial 2 has the value 480.5"),
        (480.5, "--stop-at 480.5 is reached: trial 2 has the value 480.5"),
        (480.6, None),
        (-100, "--stop-at -100 is reached: trial 2 has the value 480.5"),
        (None, None),
    ],
)
def test_search_ends_once_a_value_reaches_the_goal(
    stop_at: float | None, reason: str | None
) -> None:
    study = study_of([ended(300, 1), ended(None, 2), ended(480.5, 3), ended(470, 4)])
    assert enough_found(study, small_config(stop_at=stop_at)) == reason


def test_value_that_breaks_a_constraint_is_no_goal() -> None:
    study = study_of([ended(300, 1)])
    trial = study.ask()
    trial.set_constraint("diverged", 1.0)
    study.tell(trial, 500.0)
    assert enough_found(study, small_config(stop_at=475)) is None


@pytest.mark.parametrize(
    ("minutes", "values", "n_later"),
    [
        ([1, 2, 3, 4, 5], [5, 9, 1, None, 8], 3),
        ([1, 2, 3, 4, 5], [5, 9, 9, 9, 9], 3),  # an equal value is no improvement
        ([5, 1, 2, 3, 4], [9, 5, None, 8, 7], 0),  # in the order in which they ended
        ([1, 2, 3, 4, 5], [None, None, None, None, 1], 0),
    ],
)
def test_search_ends_after_so_many_without_improvement(
    minutes: list[int], values: list[float | None], n_later: int
) -> None:
    trials = [ended(value, minute) for value, minute in zip(values, minutes, strict=True)]
    study = study_of(trials)
    reasons = [enough_found(study, small_config(stop_after=n)) for n in (1, 2, 3, 4, 5)]
    assert [reason is not None for reason in reasons] == [n <= n_later for n in (1, 2, 3, 4, 5)]


def test_lack_of_improvement_is_told_with_the_best() -> None:
    study = study_of([ended(5, 1), ended(9, 2), ended(1, 3), ended(None, 4)])
    assert enough_found(study, small_config(stop_after=2)) == (
        "--stop-after 2 is reached: trial 1 has the value 9, none of 2 later more"
    )


def test_search_that_has_no_value_goes_on() -> None:
    study = study_of([ended(None, minute) for minute in range(9)])
    assert enough_found(study, small_config(stop_at=-9e9, stop_after=1)) is None


def test_user_s_own_end_of_a_search_stays_its_reason() -> None:
    study = study_of([ended(5, 1)])
    study.set_user_attr(STOP, STOPPED)
    assert stop_if_enough(study, small_config(stop_at=5)) is not None
    assert study.user_attrs[STOP] == STOPPED


def test_worker_ends_the_search_of_all_once_it_has_found_enough(tmp_path: Path) -> None:
    study, reason = work(config(tmp_path, n_trials=9, pruner="none", stop_at=-100))
    assert str(reason).startswith("--stop-at -100 is reached: trial 0 has the value -")
    assert study.user_attrs[STOP] == reason
    assert count_trials(trials_of(study)).finished == 1
    assert TrialMonitor(config(tmp_path)).stop_reason(study) == reason  # of any other worker


def test_trial_that_runs_when_another_worker_has_found_enough_is_handed_back(
    tmp_path: Path,
) -> None:
    config_ = config(tmp_path, n_trials=9, stop_at=-1)

    class OtherFinds:
        def __init__(self, objective: Objective) -> None:
            self.objective = objective

        def run_trials(self, trials: list[optuna.Trial], take: Any) -> None:
            trials[0].study.add_trial(ended(-0.5, 1))
            stop_if_enough(trials[0].study, config_)
            self.objective.run_trials(trials, take)

    study, reason = work(config_, TrialMonitor(config_, clock=Clock(1.0)), wrap=OtherFinds)
    assert reason == "--stop-at -1 is reached: trial 1 has the value -0.5"
    first, _, retry = trials_of(study)
    assert (first.state, first.user_attrs["outcome"]) == (TrialState.FAIL, "interrupted")
    assert (retry.state, retry.user_attrs["retry_of"]) == (TrialState.WAITING, 0)


def test_worker_ends_a_search_that_finds_nothing_better(tmp_path: Path) -> None:
    config_ = config(tmp_path, "KnownReturnEnv", n_trials=9, pruner="none", stop_after=2)
    study, reason = work(config_)
    assert str(reason).startswith("--stop-after 2 is reached: trial 0 has the value ")
    assert [trial.state.name for trial in trials_of(study)] == ["COMPLETE"] * 3
    assert len({trial.value for trial in trials_of(study)}) == 1


def test_worker_with_a_goal_out_of_reach_goes_on_to_the_last_trial(tmp_path: Path) -> None:
    study, reason = work(config(tmp_path, n_trials=3, pruner="none", stop_at=1.0, stop_after=9))
    assert (reason, count_trials(trials_of(study)).finished) == (None, 3)
    assert study.user_attrs[STOP] is None
