from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import TrialState

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.results.trials import count_trials, trials_of
from sb3_hpo.storages.study_location import StudyLocation
from sb3_hpo.study.create_or_resume import create_or_resume
from sb3_hpo.study.preflight import prepare
from sb3_hpo.workers.pool import Workers, WorkersResult, _Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


pytestmark = pytest.mark.slow  # every test starts processes that import torch


def config(run_dir: Path, env: str = "TargetEnv", **values: Any) -> StudyConfig:
    defaults = {
        "algo": "ppo", "env": f"tests.support.envs:{env}", "n_timesteps": 1024, "n_envs": 2,
        "n_evaluations": 6, "n_eval_episodes": 2, "n_trials": 4, "run_dir": str(run_dir),
        "space": "tests.support.envs:sample_target_params", "pruner": "none",
    }  # fmt: skip
    return make_config({**defaults, **values})


def run_workers(
    config_: StudyConfig, n_workers: int, on_tick: Callable[[], None] = lambda: None
) -> tuple[optuna.Study, WorkersResult]:
    location = StudyLocation.of(config_)
    study = create_or_resume(config_, location, prepare(config_))
    deadline = None if config_.timeout is None else time.time() + config_.timeout
    return study, Workers(study, config_, location, deadline).run(n_workers, on_tick)


def names(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in trials_of(study)]


def test_two_workers_share_a_study_exactly(tmp_path: Path) -> None:
    config_ = config(tmp_path, "UnrulyEnv", n_trials=6)
    study, result = run_workers(config_, 2)
    assert result == WorkersResult()
    assert names(study).count("COMPLETE") == 6
    assert len({trial.user_attrs["worker"] for trial in trials_of(study)}) == 2
    assert "ends: the study is complete" in (tmp_path / "worker-0.log").read_text()
    threads = {trial.user_attrs["run"]["n_threads"] for trial in trials_of(study)}
    assert threads == {1}


def test_worker_that_always_dies_is_given_up_after_three_deaths(tmp_path: Path) -> None:
    # The status of a command that has ended well, but this one has not said so.
    exiting = config(tmp_path, "ExitingEnv", env_kwargs={"status": 0}, n_trials=3)
    study, result = run_workers(exiting, 1)
    assert result.problem is not None
    assert "worker 0 died 3 times in a row without finishing a trial" in result.problem
    assert "exit status 0" in result.problem
    states = [(trial.state.name, trial.user_attrs["outcome"]) for trial in trials_of(study)]
    assert states == [("FAIL", "lost"), ("FAIL", "lost"), ("PRUNED", "lost")]
    assert trials_of(study)[2].constraints == {"lost": 1.0}


def test_timeout_ends_the_search_and_the_same_command_goes_on(tmp_path: Path) -> None:
    slow = config(tmp_path, n_trials=2, n_timesteps=400_000, timeout=12)
    study, result = run_workers(slow, 1)
    assert result == WorkersResult()
    assert names(study) == ["FAIL", "WAITING"]
    assert trials_of(study)[0].user_attrs["outcome"] == "interrupted"


def test_hung_worker_is_killed_and_its_trial_given_up_after_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sb3_hpo.workers.pool._GRACE_S", 1.0)
    hung = config(tmp_path, n_trials=1, env="HangingEnv", trial_timeout=2)
    study, result = run_workers(hung, 1)
    assert result == WorkersResult()
    assert names(study) == ["PRUNED"]
    assert trials_of(study)[0].constraints == {"timeout": 1.0}


def test_hung_worker_without_time_limit_is_found_by_its_missing_beat(tmp_path: Path) -> None:
    hung = config(tmp_path, n_trials=1, env="HangingEnv", beat_interval=0.5, stale_after=2)
    study, _ = run_workers(hung, 1)
    assert names(study) == ["FAIL", "FAIL", "PRUNED"]
    assert [trial.user_attrs["outcome"] for trial in trials_of(study)] == ["lost"] * 3


def test_signal_hands_trials_back_and_resuming_reaches_the_exact_total(tmp_path: Path) -> None:
    config_ = config(tmp_path, n_trials=3, n_timesteps=4_000)

    def interrupt() -> None:
        if not sent and count_trials(trials_of(study)).running == 2:
            sent.append(signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

    sent: list[signal.Signals] = []
    location = StudyLocation.of(config_)
    study = create_or_resume(config_, location, prepare(config_))
    assert threading.current_thread() is threading.main_thread()
    result = Workers(study, config_, location, None).run(2, interrupt)
    assert result.signal is signal.SIGTERM
    assert names(study).count("RUNNING") == 0
    assert names(study)[:2] == ["FAIL", "FAIL"]
    study, result = run_workers(config_, 2)
    counts = count_trials(trials_of(study))
    assert (counts.finished, counts.running, counts.waiting) == (3, 0, 0)


def test_second_signal_kills_workers_and_is_not_counted_as_a_loss(tmp_path: Path) -> None:
    hung = config(tmp_path, n_trials=1, env="HangingEnv")
    location = StudyLocation.of(hung)
    study = create_or_resume(hung, location, prepare(hung))

    def interrupt() -> None:
        # The hung worker cannot obey the first signal.
        if count_trials(trials_of(study)).running == 1:
            os.kill(os.getpid(), signal.SIGINT)

    result = Workers(study, hung, location, None).run(1, interrupt)
    assert result.signal is signal.SIGINT
    first, retry = trials_of(study)
    assert (first.state, first.user_attrs["outcome"]) == (TrialState.FAIL, "interrupted")
    assert (retry.state, "n_losses" in retry.user_attrs) == (TrialState.WAITING, False)


def test_worker_that_hangs_is_killed_some_time_after_one_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sb3_hpo.workers.pool._GRACE_S", 1.0)
    hung = config(tmp_path, n_trials=1, env="HangingEnv")
    location = StudyLocation.of(hung)
    study = create_or_resume(hung, location, prepare(hung))
    sent: list[float] = []

    def interrupt() -> None:
        if not sent and count_trials(trials_of(study)).running == 1:
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGTERM)

    result = Workers(study, hung, location, None).run(1, interrupt)
    assert result.signal is signal.SIGTERM
    assert time.monotonic() - sent[0] < 10
    assert [trial.user_attrs.get("outcome") for trial in trials_of(study)] == ["interrupted", None]


def test_worker_that_ends_with_a_mistake_of_the_user_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from sb3_hpo import tune\nfrom tests.support.envs import TargetEnv\n"
        "if __name__ != '__main__': tune(algo='ppo', env='CartPole-v1')\n"
    )
    config_ = config(tmp_path, n_trials=1)
    location = StudyLocation.of(config_)
    study = create_or_resume(config_, location, prepare(config_))
    config_ = config_.model_copy(update={"env": f"{script}:TargetEnv"})
    result = Workers(study, config_, location, None).run(1, lambda: None)
    assert result.problem is not None
    assert "(exit status 2, error: " in result.problem
    assert 'call it under if __name__ == "__main__":' in result.problem


@pytest.mark.parametrize(("other_was_trained", "progressed"), [(False, False), (True, True)])
def test_written_off_trial_counts_as_progress_where_others_are_trained(
    tmp_path: Path, other_was_trained: bool, progressed: bool
) -> None:
    config_ = config(tmp_path)
    location = StudyLocation.of(config_)
    study = create_or_resume(config_, location, prepare(config_))
    pruned, complete = TrialState.PRUNED, TrialState.COMPLETE
    study.add_trial(optuna.trial.create_trial(state=pruned, user_attrs={"worker": "w"}))
    if other_was_trained:
        attrs = {"worker": "v", "run": {}}
        study.add_trial(optuna.trial.create_trial(state=complete, value=1.0, user_attrs=attrs))
    with (tmp_path / "log").open("ab") as log:
        worker = _Worker(0, log, subprocess.Popen(["true"]), "w")
        worker.process.wait()
        assert Workers(study, config_, location, None)._has_progressed(worker) is progressed
