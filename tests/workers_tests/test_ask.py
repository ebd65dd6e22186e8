"""Trials that are asked for together: equal structure, exact totals, no point twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna
import pytest

from samplers import SEARCH_SPACES, SpaceContext
from sb3_hpo.algorithms.kwargs import serialize_kwargs
from sb3_hpo.results.trials import outcome_of, trials_of
from sb3_hpo.storages.study_location import StudyLocation
from sb3_hpo.study.create_or_resume import create_or_resume
from sb3_hpo.study.objective import Objective
from sb3_hpo.study.preflight import prepare
from sb3_hpo.training.batch.structure import structural_params, structure_of
from sb3_hpo.workers.ask import ask, ask_group
from sb3_hpo.workers.loop import run_loop, trials_together
from sb3_hpo.workers.trial_monitor import TrialMonitor
from tests.workers_tests.test_loop import config, work

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sb3_hpo.config.study_config import StudyConfig


def sample_with_structure(trial: Any) -> dict[str, Any]:
    """A user's search space with two structures, and a parameter that one of them has alone."""
    kind = trial.suggest_categorical("n_steps", [16, 32])
    kwargs = {
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        "gamma": 1 - trial.suggest_float("one_minus_gamma", 0.001, 0.1, log=True),
        "n_steps": kind,
        "batch_size": 16,
        "n_epochs": trial.suggest_int("n_epochs", 1, 2),
    }
    if kind == 16:
        kwargs["ent_coef"] = trial.suggest_float("ent_coef", 0.0, 0.01)
    return kwargs


def opened(config_: StudyConfig) -> tuple[optuna.Study, Objective]:
    space = prepare(config_)
    study = create_or_resume(config_, StudyLocation.of(config_), space)
    return study, Objective(config_, space.sample)


def batched(path: Path, **values: Any) -> StudyConfig:
    return config(path, space="tests.workers_tests.test_ask:sample_with_structure", **values)


def test_companions_have_the_structure_and_numbers_of_their_own(tmp_path: Path) -> None:
    config_ = batched(tmp_path, n_trials=9)
    study, objective = opened(config_)
    sampler = study.sampler
    for _ in range(2):
        (trials,) = ask_group(study, objective, config_, "w", 4)
        assert len(trials) == 4
        shared = {(trial.params["n_steps"], trial.params["n_epochs"]) for trial in trials}
        assert len(shared) == 1
        for name in ("learning_rate", "one_minus_gamma"):
            assert len({trial.params[name] for trial in trials}) == 4
        for trial in trials:
            study.tell(trial, 1.0)
    assert study.sampler is sampler


def test_an_enqueued_trial_is_alone(tmp_path: Path) -> None:
    config_ = batched(tmp_path, n_trials=9)
    study, objective = opened(config_)
    study.enqueue_trial({"n_steps": 16, "n_epochs": 1})
    ((enqueued,),) = ask_group(study, objective, config_, "w", 4)
    assert "fixed_params" in trials_of(study)[enqueued.number].system_attrs
    assert len(trials_of(study)) == 1


def test_a_point_that_is_enqueued_meanwhile_is_trained_apart(tmp_path: Path) -> None:
    config_ = batched(tmp_path, n_trials=9)
    study, objective = opened(config_)
    sampled: list[Any] = []

    def sample(trial: Any) -> dict[str, Any]:
        if not sampled:
            study.enqueue_trial({"n_steps": 16, "n_epochs": 1})
        sampled.append(trial)
        return sample_with_structure(trial)

    vars(objective)["sample"] = sample
    group, apart = ask_group(study, objective, config_, "w", 4)
    assert [trial.number for trial in group] == [0]
    assert [trial.number for trial in apart] == [1]
    assert "fixed_params" in trials_of(study)[1].system_attrs


def test_companions_never_exceed_the_total(tmp_path: Path) -> None:
    config_ = batched(tmp_path, n_trials=3)
    study, objective = opened(config_)
    ask(study, 3, "w")
    (trials,) = ask_group(study, objective, config_, "w", 4)
    assert len(trials) == 2
    assert [outcome_of(trial) for trial in trials_of(study)] == [None, None, None, "surplus"]
    assert ask_group(study, objective, config_, "w", 4) == []


def test_a_search_space_that_fails_for_companions_leaves_its_trial_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config_ = batched(tmp_path, n_trials=9)
    study, objective = opened(config_)

    def sample(trial: Any) -> dict[str, Any]:
        if isinstance(trial, optuna.trial.FixedTrial):
            raise OSError("the file is gone")
        return sample_with_structure(trial)

    vars(objective)["sample"] = sample
    with caplog.at_level("INFO"):
        ((first,),) = ask_group(study, objective, config_, "w", 4)
    assert first.number == 0
    assert "trial 0 gets no companions" in caplog.text
    assert "the file is gone" in caplog.text


def test_run_trials_in_batches_finishes_exactly_what_was_asked(tmp_path: Path) -> None:
    config_ = batched(tmp_path, n_trials=3, batch_trials=2, pruner="none")
    study, reason = work(config_)
    assert reason is None
    trials = trials_of(study)
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 3
    assert [trial.user_attrs["run"]["n_together"] for trial in trials] == [2, 2, 0]


def test_run_trials_in_batches_hands_all_back_when_it_is_stopped(tmp_path: Path) -> None:
    class StopsSoon:
        now = 0.0

        def __call__(self) -> float:
            self.now += 1.0
            return self.now

    config_ = batched(tmp_path, n_trials=8, batch_trials=3)
    space = prepare(config_)
    study = create_or_resume(config_, StudyLocation.of(config_), space)
    monitor = TrialMonitor(config_, deadline=60, clock=StopsSoon())
    objective = Objective(config_, space.sample, on_step=monitor.on_step)
    assert run_loop(study, objective, config_, monitor, "w") == "the study's --timeout is over"
    states = [(trial.state.name, outcome_of(trial)) for trial in trials_of(study)]
    assert states[:3] == [("FAIL", "interrupted")] * 3
    assert states[3:] == [("WAITING", None)] * 3
    retried = {str(trial.system_attrs["fixed_params"]) for trial in trials_of(study)[3:]}
    assert retried == {str(trial.params) for trial in trials_of(study)[:3]}


def test_an_error_of_one_trial_is_recorded_and_its_companions_go_on(tmp_path: Path) -> None:
    def failing_once(objective: Objective) -> Objective:
        sample = objective.sample

        def fail_for_trial_1(trial: optuna.Trial) -> dict[str, Any]:
            if getattr(trial, "number", 0) == 1:
                raise OSError("no such gripper")
            return sample(trial)

        vars(objective)["sample"] = fail_for_trial_1
        return objective

    config_ = batched(tmp_path, n_trials=4, batch_trials=3, pruner="none")
    study, reason = work(config_, wrap=failing_once)
    assert reason is None
    trials = trials_of(study)
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL"] + ["COMPLETE"] * 3
    assert trials[1].user_attrs["error"] == "OSError: no such gripper"


@pytest.mark.parametrize("algo", ["ppo", "a2c", "dqn", "sac", "td3", "ddpg", "qrdqn", "tqc"])
def test_structural_params_of_our_spaces_leave_the_numbers_free(algo: str) -> None:
    context = SpaceContext(n_envs=4, n_timesteps=20_000)
    sample = SEARCH_SPACES[algo].sample

    def replay(params: Mapping[str, Any]) -> Mapping[str, Any]:
        trial = optuna.trial.FixedTrial(dict(params))
        described: dict[str, Any] = serialize_kwargs(sample(trial, context=context, size="full"))
        return described

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    trial = study.ask()
    sample(trial, context=context, size="full")
    fixed = structural_params(algo, trial.params, trial.distributions, replay)
    assert "learning_rate" not in fixed
    assert {"one_minus_gamma", "gamma"} & set(trial.params) - set(fixed)
    assert {"net_arch", "activation_fn", "activation"} & set(fixed)
    own = structure_of(algo, replay(trial.params))
    other_numbers = study.ask(
        {name: item for name, item in trial.distributions.items() if name not in fixed}
    ).params
    assert structure_of(algo, replay({**other_numbers, **fixed})) == own
    assert len(other_numbers) >= 3


def sample_two_kinds(trial: Any) -> dict[str, Any]:
    """A search space whose structure `structural_params` cannot see: it follows the trial."""
    return {**sample_with_structure(trial), "n_steps": 16 * (1 + getattr(trial, "number", 0) % 2)}


class Slow:
    """A clock on which every look takes a second."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_trials_that_cannot_be_together_have_each_their_own_time(tmp_path: Path) -> None:
    config_ = config(
        tmp_path, space="tests.workers_tests.test_ask:sample_two_kinds", n_trials=3,
        batch_trials=3,
        pruner="none", trial_timeout=300,
    )  # fmt: skip
    clock = Slow()
    study, reason = work(config_, TrialMonitor(config_, clock=clock))
    assert reason is None
    assert clock.now > 300  # all of them together took longer than one may
    trials = trials_of(study)
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 3
    assert [trial.user_attrs["run"]["n_together"] for trial in trials] == [0, 0, 0]


def test_trials_that_cannot_be_together_twice_are_asked_for_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[int] = []

    def noting(*arguments: Any) -> Any:
        asked.append(arguments[-1])
        return ask_group(*arguments)

    monkeypatch.setattr("sb3_hpo.workers.loop.ask_group", noting)
    config_ = config(
        tmp_path, space="tests.workers_tests.test_ask:sample_two_kinds", n_trials=6,
        batch_trials=2,
        pruner="none",
    )  # fmt: skip
    study, _ = work(config_)
    assert [trial.state.name for trial in trials_of(study)] == ["COMPLETE"] * 6
    assert asked == [2, 2, 1, 1]
    assert "n_steps differs" in caplog.text
    assert "from now on trials are trained one at a time" in caplog.text


def test_trials_together_have_their_times_together(tmp_path: Path) -> None:
    config_ = batched(tmp_path, n_trials=3, batch_trials=3, pruner="none", trial_timeout=20)
    study, _ = work(config_, TrialMonitor(config_, clock=Slow()))
    for trial in trials_of(study):
        assert trial.user_attrs["run"]["reason"] == "3 trials together took longer than 60 s"


def test_what_breaks_a_batch_is_no_fault_of_its_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("all of them are too many")

    config_ = batched(tmp_path, n_trials=3, batch_trials=3, pruner="none", exact=False)
    monkeypatch.setattr("sb3_hpo.training.batch.learners.on_policy.PPOLearner.learn", fail)
    study, reason = work(config_)
    assert reason is None
    trials = trials_of(study)
    assert [outcome_of(trial) for trial in trials] == ["lost"] * 3 + ["finished"] * 3
    assert [t.params["learning_rate"] for t in trials[:3]] == [
        t.params["learning_rate"] for t in trials[3:]
    ]
    assert "trials could not be trained together" in caplog.text


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"tensorboard": True}, "SB3's logs are for one run at a time"),
        ({"vec_env": "subproc"}, "the environments of each run have processes of their own"),
        ({"n_eval_envs": 0}, "with `n_eval_envs` 0 there is one environment at a time"),
        ({"sampler": "cmaes"}, "CMA-ES cannot leave some parameters as they are"),
        ({"exact": True}, None),
        ({"batch_trials": 1}, None),
    ],
)
def test_trials_together_says_why_not(
    tmp_path: Path, values: dict[str, Any], reason: str | None
) -> None:
    assert trials_together(batched(tmp_path, **{"batch_trials": 3, **values})) == (1, reason)
    assert trials_together(batched(tmp_path, batch_trials=3)) == (3, None)
    assert trials_together(batched(tmp_path)) == (1, None)
