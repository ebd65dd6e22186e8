from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import TrialState

from sb3_hpo.config.study_config import make_config
from sb3_hpo.results.trials import trials_of
from sb3_hpo.storages.open import open_storage
from sb3_hpo.storages.retrying import RetryingStorage
from sb3_hpo.workers.lost_trials import (
    StaleTrials,
    find_lost,
    hand_back,
    handle_loss,
    take_back_orphans,
    write_off,
)
from tests.support.processes import living_worker

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    storage = open_storage(str(tmp_path / "study.journal"))
    return optuna.create_study(storage=storage, study_name="s", direction="maximize")


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in trials_of(study)]


def test_hand_back_fails_the_trial_and_enqueues_its_parameters(study: optuna.Study) -> None:
    trial = study.ask()
    x = trial.suggest_float("x", 0, 1)
    assert hand_back(study, trials_of(study)[0], "interrupted")
    assert states(study) == ["FAIL", "WAITING"]
    assert trials_of(study)[0].user_attrs == {"outcome": "interrupted"}
    assert trials_of(study)[1].user_attrs == {"retry_of": 0}
    assert study.ask().suggest_float("x", 0, 1) == x


def test_hand_back_keeps_enqueued_parameters_not_yet_sampled(study: optuna.Study) -> None:
    study.enqueue_trial({"x": 0.25}, user_attrs={"source": "sb3_default", "kwargs_override": {}})
    study.ask()
    hand_back(study, trials_of(study)[0], "interrupted")
    assert study.ask().suggest_float("x", 0, 1) == 0.25
    assert trials_of(study)[1].user_attrs == {
        "source": "sb3_default",
        "kwargs_override": {},
        "retry_of": 0,
    }


def test_hand_back_of_a_finished_trial_changes_nothing(study: optuna.Study) -> None:
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    seen = trials_of(study)[0]
    study.tell(trial, 1.0)
    assert not hand_back(study, seen, "lost")
    assert states(study) == ["COMPLETE"]
    assert trials_of(study)[0].user_attrs == {}


def test_handle_loss_twice_retries_and_then_writes_off(study: optuna.Study) -> None:
    study.ask().suggest_float("x", 0, 1)
    for number in range(3):
        assert handle_loss(study, trials_of(study)[number])
        if number < 2:
            study.ask().suggest_float("x", 0, 1)
    assert states(study) == ["FAIL", "FAIL", "PRUNED"]
    last = trials_of(study)[2]
    assert last.constraints == {"lost": 1.0}
    assert last.user_attrs["retry_of"] == 0
    assert last.user_attrs["reason"] == "its worker was lost 3 times"
    assert len({trial.params["x"] for trial in trials_of(study)}) == 1


def test_write_off_prunes_with_a_constraint(study: optuna.Study) -> None:
    study.ask()
    assert write_off(study, trials_of(study)[0], "timeout", "hung")
    (trial,) = trials_of(study)
    assert (trial.state, trial.constraints) == (TrialState.PRUNED, {"timeout": 1.0})
    assert not write_off(study, trial, "timeout", "hung")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def stale_trials(clock: Clock) -> StaleTrials:
    values: dict[str, Any] = {"beat_interval": 30, "stale_after": 300}
    return StaleTrials(make_config({"algo": "ppo", "env": "Pendulum-v1", **values}), clock)


def test_stale_trial_is_found_after_its_beat_stood_still(study: optuna.Study) -> None:
    clock = Clock()
    stale = stale_trials(clock)
    trial = study.ask()
    trial.set_user_attr("worker", "w")
    found = []
    for clock.now, beat in ((0.0, 1), (290.0, 2), (589.0, 2), (590.0, 2)):
        trial.set_user_attr("beat", beat)
        found.append([item.number for item in stale.find(trials_of(study))])
    assert found == [[], [], [], [0]]


def test_stale_trial_without_a_worker_is_found_too(study: optuna.Study) -> None:
    clock = Clock()
    stale = stale_trials(clock)
    study.ask()
    assert stale.find(trials_of(study)) == []
    clock.now = 300.0
    assert [trial.number for trial in stale.find(trials_of(study))] == [0]


def test_time_in_which_the_storage_was_away_makes_no_trial_stale(study: optuna.Study) -> None:
    clock = Clock()
    stale = stale_trials(clock)
    study.ask()
    found = []
    for clock.now, n_outages in ((0.0, 0), (400.0, 1), (699.0, 1), (700.0, 1)):
        found.append([item.number for item in stale.find(trials_of(study), n_outages)])
    assert found == [[], [], [], [0]]


def test_nobody_is_lost_while_nobody_can_write(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    stale = stale_trials(clock)
    study = optuna.create_study(storage=open_storage(":memory:", retry_timeout_s=60))
    storage = study._storage
    assert isinstance(storage, RetryingStorage)
    trial = study.ask()
    assert find_lost(study, stale, trials_of(study)) == []
    clock.now = 301.0
    write, failures = storage.storage.set_study_user_attr, [OSError(errno.ENOSPC, "full")]

    def write_later(*args: Any) -> None:
        if failures:
            raise failures.pop()
        write(*args)

    monkeypatch.setattr(storage.storage, "set_study_user_attr", write_later)
    assert find_lost(study, stale, trials_of(study)) == []
    clock.now = 400.0
    assert find_lost(study, stale, trials_of(study)) == []  # the time began anew
    clock.now = 700.0
    assert [lost.number for lost in find_lost(study, stale, trials_of(study))] == [trial.number]
    assert study.user_attrs["loss_check"] == [trial.number]


def test_finished_trial_is_never_stale(study: optuna.Study) -> None:
    clock = Clock()
    stale = stale_trials(clock)
    trial = study.ask()
    stale.find(trials_of(study))
    study.tell(trial, 1.0)
    clock.now = 1e6
    assert stale.find(trials_of(study)) == []


def test_take_back_orphans_takes_those_of_dead_workers_of_this_machine(
    study: optuna.Study,
) -> None:
    here, alive = f"{socket.gethostname()}:0:dead", f"{socket.gethostname()}:1:beef"
    for worker in (here, alive, "far:0:dead", None):
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        if worker is not None:
            trial.set_user_attr("worker", worker)
    with living_worker(alive):
        assert take_back_orphans(study) == [0]
    assert states(study) == ["FAIL", "RUNNING", "RUNNING", "RUNNING", "WAITING"]
    assert trials_of(study)[4].user_attrs == {"n_losses": 1, "retry_of": 0}
