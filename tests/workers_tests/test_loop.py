from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import FixedTrial, TrialState

from sb3_hpo.algorithms.kwargs import serialize_kwargs
from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.results.trials import count_trials, outcome_of, trials_of
from sb3_hpo.spaces.enqueue.enqueued_point import EnqueuedPoint
from sb3_hpo.storages.retrying import StorageAwayError
from sb3_hpo.storages.study_location import StudyLocation
from sb3_hpo.study.create_or_resume import create_or_resume
from sb3_hpo.study.objective import Objective
from sb3_hpo.study.preflight import prepare
from sb3_hpo.training.hooks import StopRun
from sb3_hpo.utils.errors import StorageError
from sb3_hpo.utils.processes import stop_signals
from sb3_hpo.workers.ask import ask
from sb3_hpo.workers.loop import _record_error, run_loop
from sb3_hpo.workers.trial_monitor import TrialMonitor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def config(run_dir: Path, env: str = "TargetEnv", **values: Any) -> StudyConfig:
    defaults = {
        "algo": "ppo", "env": f"tests.support.envs:{env}", "n_timesteps": 256, "n_envs": 2,
        "n_evaluations": 6, "n_eval_episodes": 2, "n_trials": 4, "run_dir": str(run_dir),
        "space": "tests.support.envs:sample_target_params",
    }  # fmt: skip
    return make_config({**defaults, **values})


def work(
    config_: StudyConfig,
    monitor: TrialMonitor | None = None,
    wrap: Callable[[Any], Any] = lambda x: x,
) -> tuple[optuna.Study, str | None]:
    """Do in this process what the command does over several."""
    space = prepare(config_)
    study = create_or_resume(config_, StudyLocation.of(config_), space)
    monitor = monitor or TrialMonitor(config_)
    objective = wrap(Objective(config_, space.sample, on_step=monitor.on_step))
    return study, run_loop(study, objective, config_, monitor, "here:0:1")


def values(study: optuna.Study) -> list[float | None]:
    return [trial.value for trial in trials_of(study)]


def test_run_trials_finishes_exactly_what_was_asked(tmp_path: Path) -> None:
    study, reason = work(config(tmp_path, n_trials=4))
    assert reason is None
    assert [trial.state.is_finished() for trial in trials_of(study)] == [True] * 4
    assert {trial.user_attrs["worker"] for trial in trials_of(study)} == {"here:0:1"}


def test_run_trials_on_a_complete_study_adds_nothing(tmp_path: Path) -> None:
    work(config(tmp_path))
    study, reason = work(config(tmp_path))
    assert (reason, len(trials_of(study))) == (None, 4)


def test_run_trials_same_seed_gives_identical_values(tmp_path: Path) -> None:
    first, second, other = (
        work(config(tmp_path / name, seed=seed))[0]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert values(first) == values(second)
    assert values(first) != values(other)


def test_run_trials_resumed_study_never_repeats_a_random_point(tmp_path: Path) -> None:
    for n_trials in (2, 4, 6):  # three starts
        study, _ = work(config(tmp_path, n_trials=n_trials, sampler="random", pruner="none"))
    rates = [trial.params["learning_rate"] for trial in trials_of(study)]
    assert len(set(rates)) == 6


def test_run_trials_whole_space_in_process(tmp_path: Path) -> None:
    config_ = config(tmp_path, space=None, n_timesteps=640, n_trials=3, pruner="none")
    study, _ = work(config_)
    space = prepare(config_)
    default, *sampled = trials_of(study)
    assert "kwargs_override" not in default.user_attrs
    for trial in (default, *sampled):  # what is recorded is what was trained
        kwargs = serialize_kwargs(space.sample(FixedTrial(trial.params)))
        assert trial.user_attrs["run"]["kwargs"] == kwargs
    assert default.params["learning_rate"] == 0.0003
    for trial in sampled:
        kwargs = trial.user_attrs["run"]["kwargs"]
        rate = kwargs["learning_rate"]
        if trial.params["learning_rate_schedule"] == "linear":
            rate = rate["start"]
        assert rate == trial.params["learning_rate"]
        assert kwargs["gamma"] == 1 - trial.params["one_minus_gamma"] == trial.user_attrs["gamma"]
        assert kwargs["n_steps"] == 2 ** trial.params["n_steps_pow"]


def test_ask_beyond_the_total_is_given_back(tmp_path: Path) -> None:
    study, _ = work(config(tmp_path, n_trials=2))
    assert ask(study, 2, "late") is None
    assert trials_of(study)[2].state is TrialState.FAIL
    assert trials_of(study)[2].user_attrs == {"worker": "late", "outcome": "surplus"}
    asked = ask(study, 3, "late")
    assert asked is not None
    assert trials_of(study)[asked.number].user_attrs == {"worker": "late"}


def test_ask_keeps_a_surplus_point_for_when_more_trials_are_asked_for(tmp_path: Path) -> None:
    config_ = config(tmp_path, n_trials=1)
    study = create_or_resume(config_, StudyLocation.of(config_), prepare(config_))
    for rate in (0.001, 0.002):
        study.enqueue_trial({"learning_rate": rate})
    assert ask(study, 1, "first") is not None
    assert ask(study, 1, "second, at the same moment") is None
    more = ask(study, 2, "later, when two are asked for")
    assert more is not None
    assert more.suggest_float("learning_rate", 1e-4, 1e-2, log=True) == 0.002
    outcomes = [(t.state.name, t.user_attrs.get("outcome")) for t in trials_of(study)]
    assert outcomes == [("RUNNING", None), ("FAIL", "surplus"), ("RUNNING", None)]


def test_ask_tries_once_a_point_that_two_commands_enqueue_at_the_same_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config_ = config(tmp_path, n_trials=2)
    location, space = StudyLocation.of(config_), prepare(config_)
    points = [EnqueuedPoint("first.yaml", {"learning_rate": 0.002}, None)]
    create_or_resume(config_, location, space)
    enqueue = optuna.Study.enqueue_trial

    def enqueue_after_the_other(study: optuna.Study, *args: Any, **kwargs: Any) -> None:
        monkeypatch.setattr(optuna.Study, "enqueue_trial", enqueue)
        create_or_resume(config_, location, space, points)
        enqueue(study, *args, **kwargs)

    monkeypatch.setattr(optuna.Study, "enqueue_trial", enqueue_after_the_other)
    study = create_or_resume(config_, location, space, points)
    assert [trial.user_attrs["source"] for trial in trials_of(study)] == ["first.yaml"] * 2
    assert [ask(study, 2, worker) is None for worker in ("first", "second")] == [False, True]
    assert [outcome_of(trial) for trial in trials_of(study)] == [None, "surplus"]


@pytest.mark.parametrize("is_of_a_run", [False, True])
@pytest.mark.parametrize("kind", [StorageAwayError, StorageError])
def test_run_trials_storage_that_fails_is_no_error_of_the_trial(
    kind: type[Exception], *, is_of_a_run: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class LosesStorage:
        def __init__(self, _objective: Objective) -> None: ...

        def run_trials(self, trials: list[optuna.Trial], take: Any) -> None:
            error = kind("storage: h cannot be used")
            if not is_of_a_run:
                raise error
            take(trials[0], error)

    config_ = config(tmp_path)
    with pytest.raises(kind, match=r"^storage: h cannot be used$"):
        work(config_, wrap=LosesStorage)
    assert not [record for record in caplog.records if record.exc_info]
    (trial,) = trials_of(create_or_resume(config_, StudyLocation.of(config_), prepare(config_)))
    assert (trial.state.name, outcome_of(trial)) == ("RUNNING", None)


def test_run_trials_replaces_failed_trials(tmp_path: Path) -> None:
    class FailsFirst:
        def __init__(self, objective: Objective) -> None:
            self.objective = objective

        def run_trials(self, trials: list[optuna.Trial], take: Any) -> None:
            if trials[0].number == 0:
                raise OSError("the robot was unplugged")
            self.objective.run_trials(trials, take)

    study, reason = work(config(tmp_path, n_trials=3, pruner="none"), wrap=FailsFirst)
    assert reason is None
    assert [trial.state.name for trial in trials_of(study)] == ["FAIL"] + ["COMPLETE"] * 3
    attrs = trials_of(study)[0].user_attrs
    assert (attrs["outcome"], attrs["error"]) == ("error", "OSError: the robot was unplugged")
    assert "in run_trials" in attrs["traceback"]


def test_run_trials_keeps_the_end_of_a_long_error(tmp_path: Path) -> None:
    def fail(trial: optuna.Trial) -> float:
        raise ValueError(f"{100_000 * 'x'}\0\ud800 the end")

    config_ = config(tmp_path, n_trials=1)
    location = StudyLocation.of(config_)
    study = create_or_resume(config_, location, prepare(config_))
    trial = study.ask()
    _record_error(study, trial, _raised(fail, trial))
    attrs = trials_of(study)[trial.number].user_attrs
    assert attrs["error"].startswith("ValueError: ... x")
    assert attrs["error"].endswith("xx\\x00\\ud800 the end")
    assert len(attrs["error"]) < 4_200
    assert len(attrs["traceback"]) <= 4_096
    assert attrs["error_site"].startswith(f"{__file__}:")


def _raised(call: Callable[[optuna.Trial], float], trial: optuna.Trial) -> Exception:
    try:
        call(trial)
    except ValueError as error:
        return error
    raise AssertionError("it should have raised")


def test_run_trials_stops_after_three_equal_errors(tmp_path: Path) -> None:
    study, reason = work(config(tmp_path, "RaisingEnv", n_trials=20))
    counts = count_trials(trials_of(study))
    assert (counts.failed, counts.finished) == (3, 0)
    assert str(reason).startswith("3 trials failed with ValueError at ")
    assert "envs.py:" in str(reason)


def test_run_trials_tries_again_when_started_again_after_errors(tmp_path: Path) -> None:
    work(config(tmp_path, "RaisingEnv", n_trials=20))
    study, reason = work(config(tmp_path, "RaisingEnv", n_trials=20))
    assert count_trials(trials_of(study)).failed == 6
    assert reason is not None


def test_run_trials_infeasible_trials_count_as_finished(tmp_path: Path) -> None:
    study, reason = work(config(tmp_path, "NanRewardEnv", n_trials=3))
    assert (reason, count_trials(trials_of(study)).infeasible) == (None, 3)


class Clock:
    """Every look at it takes time."""

    def __init__(self, tick: float) -> None:
        self.now, self.tick = 0.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


def test_watch_deadline_hands_the_running_trial_back(tmp_path: Path) -> None:
    config_ = config(tmp_path)
    study, reason = work(config_, TrialMonitor(config_, deadline=60, clock=Clock(1.0)))
    assert reason == "the study's --timeout is over"
    first, retry = trials_of(study)
    assert (first.state, first.user_attrs["outcome"]) == (TrialState.FAIL, "interrupted")
    assert (retry.state, retry.user_attrs["retry_of"]) == (TrialState.WAITING, 0)


def test_watch_trial_timeout_prunes_with_a_constraint(tmp_path: Path) -> None:
    config_ = config(tmp_path, trial_timeout=20, n_trials=2)
    study, reason = work(config_, TrialMonitor(config_, clock=Clock(1.0)))
    assert reason is None
    assert [trial.constraints for trial in trials_of(study)] == [{"timeout": 1.0}] * 2
    assert trials_of(study)[0].user_attrs["reason"] == "the trial took longer than 20 s"


def test_watch_beats_while_steps_are_made(tmp_path: Path) -> None:
    config_ = config(tmp_path, n_trials=1, beat_interval=5, stale_after=1e6)
    study, _ = work(config_, TrialMonitor(config_, clock=Clock(0.1)))
    assert trials_of(study)[0].user_attrs["beat"] >= 3


def test_watch_stop_flag_in_the_study_is_obeyed(tmp_path: Path) -> None:
    config_ = config(tmp_path)
    study = create_or_resume(config_, StudyLocation.of(config_), prepare(config_))
    study.set_user_attr("stop", "somebody asked")
    assert TrialMonitor(config_).stop_reason(study) == "somebody asked"


def test_watch_orphan_stops(tmp_path: Path) -> None:
    config_ = config(tmp_path)
    _, reason = work(config_, TrialMonitor(config_, orphaned=lambda: True))
    assert reason == "the process that started this worker is gone"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_first_signal_stops_the_run_and_second_raises(
    tmp_path: Path, number: signal.Signals
) -> None:
    monitor = TrialMonitor(config(tmp_path))
    before = signal.getsignal(number)
    with stop_signals(monitor.on_signal):
        os.kill(os.getpid(), number)
        with pytest.raises(StopRun, match=f"received {number.name}"):
            monitor.on_step(0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_run_trials_revoked_trial_is_dropped_quietly(tmp_path: Path) -> None:
    class Paused:
        """Another process gives the first trial away while this one is paused."""

        def __init__(self, objective: Objective) -> None:
            self.objective = objective

        def run_trials(self, trials: list[optuna.Trial], take: Any) -> None:
            if trials[0].number == 0:
                trials[0].study.tell(0, state=TrialState.FAIL)
            self.objective.run_trials(trials, take)

    study, reason = work(config(tmp_path, n_trials=2, pruner="none"), wrap=Paused)
    assert reason is None
    assert [trial.state.name for trial in trials_of(study)] == ["FAIL", "COMPLETE", "COMPLETE"]


def test_run_trials_with_an_algorithm_class_of_the_users(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "space": "tests.workers_tests.test_loop:sample_a2c",
        "pruner": "none",
    }
    study, _ = work(config(tmp_path, algo="stable_baselines3.a2c.a2c:A2C", n_trials=2, **values))
    assert [trial.state.name for trial in trials_of(study)] == ["COMPLETE"] * 2
    for trial in trials_of(study):
        expected = {"gamma": trial.params["gamma"], "n_steps": 4}
        assert trial.user_attrs["run"]["kwargs"] == expected


def sample_a2c(trial: optuna.Trial) -> dict[str, Any]:
    return {"gamma": trial.suggest_float("gamma", 0.8, 0.99), "n_steps": 4}


def test_run_trials_error_of_a_trial_from_before_the_restart_is_recorded(tmp_path: Path) -> None:
    interrupted = config(tmp_path, "RaisingEnv", n_trials=9)
    study = create_or_resume(interrupted, StudyLocation.of(interrupted), prepare(interrupted))
    study.enqueue_trial({"learning_rate": 0.001}, user_attrs={"retry_of": 0})
    study, reason = work(interrupted)
    assert [trial.user_attrs["outcome"] for trial in trials_of(study)] == ["error"] * 3
    assert str(reason).startswith("3 trials failed with ValueError")


def test_run_trials_failing_trial_that_was_handed_on_is_left_alone(tmp_path: Path) -> None:
    class PausedThenFails:
        def __init__(self, objective: Objective) -> None:
            self.objective = objective

        def run_trials(self, trials: list[optuna.Trial], take: Any) -> None:
            if trials[0].number == 0:
                trials[0].study.tell(0, state=TrialState.FAIL)
                raise OSError("the robot was unplugged")
            self.objective.run_trials(trials, take)

    study, reason = work(config(tmp_path, n_trials=1, pruner="none"), wrap=PausedThenFails)
    assert reason is None
    assert [trial.state.name for trial in trials_of(study)] == ["FAIL", "COMPLETE"]
