"""Members of `train` that are trained together: the same records, and no member harms another."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3
from stable_baselines3.common.callbacks import BaseCallback

from sb3_hpo.envs.factory import make_training_envs
from sb3_hpo.training.evaluator import GridEvaluator
from sb3_hpo.training.hooks import Hooks, RunRequest, StopRun
from sb3_hpo.training.train import train
from tests.support.envs import TargetEnv
from tests.training_tests.test_train import PPO, SEEDS, config

if TYPE_CHECKING:
    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.results.run_record import Evaluation, RunRecord
    from sb3_hpo.training.evaluation_episodes import EpisodePlan
    from sb3_hpo.training.run import TrainedRun

MEMBERS = [
    RunRequest({**PPO, "learning_rate": rate, "gamma": gamma}, seed)
    for seed, rate, gamma in [(1, 0.003, 0.9), (41, 0.01, 0.95), (21, 0.005, 0.99)]
]


class BreaksAfterSteps(gym.Wrapper[Any, Any, Any, Any]):
    """Raises in the environment of one training seed only."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._is_broken, self._n_steps = False, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self._is_broken = self._is_broken or seed == 41
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        self._n_steps += 1
        if self._is_broken and self._n_steps > 50:
            raise ValueError("the gripper is gone")
        return super().step(action)


class RefusesNan(TargetEnv):
    """Is an environment that a NaN would break."""

    def step(self, action: Any) -> Any:
        if np.isnan(action).any():
            raise SystemError("a NaN reached the motors")
        return super().step(action)


def broken_for_seed_41() -> gym.Env[Any, Any]:
    return BreaksAfterSteps(TargetEnv())


def together(
    env: str = "TargetEnv", hooks: Hooks | None = None, **values: Any
) -> list[TrainedRun]:
    config_ = config(env, **values)
    if ":" in env:
        config_ = config_.model_copy(update={"env": env})
    return list(train(config_, MEMBERS, SEEDS, hooks))


def alone(index: int, hooks: Hooks | None = None, **values: Any) -> RunRecord:
    (run,) = train(config("TargetEnv", **values), [MEMBERS[index]], SEEDS, hooks)
    return run.record


def returns(record: RunRecord) -> list[float]:
    return [value for evaluation in record.evaluations for value in evaluation.returns]


@pytest.mark.parametrize("values", [{}, {"normalize": True}, {"n_envs": 1}])
def test_together_is_what_each_is_alone(values: dict[str, Any]) -> None:
    runs = together(**values)
    assert [run.record.n_together for run in runs] == [3, 3, 3]
    for index, run in enumerate(runs):
        own = alone(index, **values)
        assert returns(run.record) == pytest.approx(returns(own), abs=1e-3)
        assert (run.index, run.record.seed) == (index, own.seed)
        assert run.record.kwargs == own.kwargs
        assert (run.record.n_steps, run.record.n_updates) == (own.n_steps, own.n_updates)
        steps = [(e.nominal_step, e.actual_step) for e in run.record.evaluations]
        assert steps == [(e.nominal_step, e.actual_step) for e in own.evaluations]


def test_together_on_stochastic_evaluations() -> None:
    runs = together(stochastic_eval=True)
    expected = [returns(alone(index, stochastic_eval=True)) for index in range(3)]
    for run, own in zip(runs, expected, strict=True):
        assert returns(run.record) == pytest.approx(own, abs=1e-3)


def test_together_shares_the_time() -> None:
    start = time.perf_counter()
    runs = together()
    wall_s = time.perf_counter() - start
    seconds = [run.record.seconds for run in runs]
    assert min(seconds) > 0.5 * max(seconds)
    assert sum(seconds) <= wall_s  # none has the time of all


def test_a_dropped_member_leaves_the_others_as_they_are() -> None:
    def drop(index: int, evaluation: Evaluation) -> tuple[int, ...]:
        return (1,) if (index, evaluation.nominal_step) == (1, 128) else ()

    first, second, third = together(hooks=Hooks(on_evaluation=drop))
    assert (second.record.outcome, second.record.reason) == ("dropped", "dropped at step 128")
    assert second.record.n_steps == 128
    for run, index in ((first, 0), (third, 2)):
        assert run.record.outcome == "finished"
        assert returns(run.record) == pytest.approx(returns(alone(index)), abs=1e-3)


def test_members_can_drop_others() -> None:
    def drop(index: int, evaluation: Evaluation) -> tuple[int, ...]:
        return (0, 1, 2) if (index, evaluation.nominal_step) == (2, 128) else ()

    records = [run.record for run in together(hooks=Hooks(on_evaluation=drop))]
    assert [record.outcome for record in records] == ["dropped"] * 3
    assert [len(record.evaluations) for record in records] == [2, 2, 2]


def test_a_stop_ends_every_member_that_is_told() -> None:
    def stop(n_steps: int) -> None:
        if n_steps >= 100:
            raise StopRun("interrupted", "enough")

    records = [run.record for run in together(hooks=Hooks(on_step=stop))]
    assert [(record.outcome, record.n_steps) for record in records] == [("interrupted", 100)] * 3


def test_an_error_of_one_member_is_told_and_the_others_go_on() -> None:
    told: list[tuple[int, str]] = []

    def on_error(index: int, error: Exception) -> tuple[int, ...]:
        told.append((index, str(error)))
        return ()

    hooks = Hooks(on_error=on_error)
    runs = together("tests.training_tests.test_together:broken_for_seed_41", hooks)
    assert told == [(1, "the gripper is gone")]
    assert [run.index for run in runs] == [0, 2]
    for run in runs:
        assert returns(run.record) == pytest.approx(returns(alone(run.index)), abs=1e-3)


class CannotBeClosed(TargetEnv):
    """Breaks when it is closed after use."""

    _was_used = False

    def step(self, action: Any) -> Any:
        self._was_used = True
        return super().step(action)

    def close(self) -> None:
        if self._was_used:
            raise OSError("the viewer is gone")


def test_an_environment_that_cannot_be_closed_costs_no_result(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runs = together("tests.training_tests.test_together:CannotBeClosed")
    assert [run.record.outcome for run in runs] == ["finished"] * 3
    assert [run.record.n_together for run in runs] == [3, 3, 3]
    assert "OSError: the viewer is gone" in caplog.text


def test_evaluations_of_runs_together_have_their_time_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits: list[float] = []

    class Noting(GridEvaluator):
        def __init__(self, envs: Any, grid: Any, plan: EpisodePlan, **kwargs: Any) -> None:
            limits.append(plan.max_seconds)
            super().__init__(envs, grid, plan, **kwargs)

    monkeypatch.setattr("sb3_hpo.training.run.GridEvaluator", Noting)
    together()
    alone(0)
    assert limits == [1800.0] * 3 + [600.0]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    ("algo", "kwargs"),
    [("ppo", PPO), ("sac", {"learning_starts": 20, "buffer_size": 1000, "batch_size": 16})],
)
def test_a_member_that_diverges_is_stopped_before_its_environment_gets_nan(
    algo: str, kwargs: dict[str, Any], exact: bool
) -> None:
    config_ = config(algo=algo, n_timesteps=160, n_evaluations=1, pruner="none", exact=exact)
    config_ = config_.model_copy(update={"env": f"{__name__}:RefusesNan"})
    members = [
        RunRequest({**kwargs, "learning_rate": rate}, seed=1) for rate in (1e-3, 1e30, 2e-3)
    ]
    runs = list(train(config_, members, SEEDS))
    assert [run.record.n_together for run in runs] == [0 if exact else 3] * 3
    assert [run.record.outcome for run in runs] == ["finished", "diverged", "finished"]
    assert (runs[1].record.reason or "").startswith("ValueError: Expected parameter")
    assert 0 < runs[1].record.n_steps < 160


def test_an_error_that_nobody_takes_ends_all() -> None:
    with pytest.raises(ValueError, match="the gripper is gone"):
        together("tests.training_tests.test_together:broken_for_seed_41")


def test_what_cannot_be_together_is_trained_one_after_the_other_as_if_alone() -> None:
    reasons: list[str] = []
    members = [RunRequest({**PPO, "n_steps": n_steps}, seed=1) for n_steps in (16, 32)]
    hooks = Hooks(on_alone=reasons.append)
    runs = list(train(config("TargetEnv"), members, SEEDS, hooks))
    assert reasons == ["n_steps differs: [16, 32]"]
    assert [run.record.n_together for run in runs] == [0, 0]
    for run, member in zip(runs, members, strict=True):
        (own,) = train(config("TargetEnv"), [member], SEEDS)
        assert returns(run.record) == returns(own.record)


def test_an_environment_that_there_is_one_of_is_for_one_run_at_a_time() -> None:
    reasons: list[str] = []
    runs = together(n_timesteps=64, hooks=Hooks(on_alone=reasons.append), n_eval_envs=0)
    assert [run.record.n_together for run in runs] == [0, 0, 0]
    assert reasons == ["with `n_eval_envs` 0 there is one environment at a time"]


def test_runs_that_ended_before_the_batch_was_refused_are_not_trained_again() -> None:
    ends: list[tuple[int, str]] = []

    def on_end(index: int, record: RunRecord) -> tuple[int, ...]:
        ends.append((index, record.outcome))
        return ()

    huge = {**PPO, "n_steps": 16 * 10**12, "batch_size": 16}
    members = [
        RunRequest(huge, seed=1),
        RunRequest(PPO, seed=2),
        RunRequest({**PPO, "n_steps": 32}, seed=3),
    ]
    hooks = Hooks(on_end=on_end)
    runs = list(train(config("TargetEnv", n_timesteps=64), members, SEEDS, hooks))
    assert ends == [(0, "oom"), (1, "finished"), (2, "finished")]
    assert [(run.index, run.record.outcome) for run in runs] == ends


@pytest.mark.parametrize("hooks", [{"verbose": True}, {"callbacks": [BaseCallback]}])
def test_logs_and_callbacks_of_the_user_are_for_one_run_at_a_time(hooks: dict[str, Any]) -> None:
    class Counting(BaseCallback):
        def _on_step(self) -> bool:
            return True

    if "callbacks" in hooks:
        hooks = {"callbacks": [Counting()]}
    reasons: list[str] = []
    runs = together(n_timesteps=64, hooks=Hooks(on_alone=reasons.append, **hooks))
    assert [run.record.n_together for run in runs] == [0, 0, 0]
    assert reasons == ["SB3's logs and your callbacks are for one run at a time"]


def test_every_member_is_told_of_its_end() -> None:
    ends: list[tuple[int, str, int]] = []

    def on_end(index: int, record: RunRecord) -> tuple[int, ...]:
        ends.append((index, record.outcome, record.n_steps))
        return ()

    together(hooks=Hooks(on_end=on_end))
    assert sorted(ends) == [(index, "finished", 640) for index in range(3)]


def plain_sb3(config_: StudyConfig, member: RunRequest) -> stable_baselines3.PPO:
    venv = make_training_envs(config_, 0.99)
    model = stable_baselines3.PPO(
        "MlpPolicy", venv, seed=member.seed, device="cpu", **member.kwargs
    )
    return model.learn(config_.n_timesteps)


def largest_difference(one: stable_baselines3.PPO, other: stable_baselines3.PPO) -> float:
    pairs = zip(one.policy.parameters(), other.policy.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


@pytest.mark.parametrize(
    ("few", "exact", "n_together"), [(0, False, 1), (0, True, 0), (3000, False, 0)]
)
def test_one_alone_is_traced_where_that_pays_and_may_be(
    few: int, exact: bool, n_together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sb3_hpo.training.batch_checks._FEW_STEPS", few)
    config_ = config("TargetEnv", exact=exact)
    sb3 = plain_sb3(config_, MEMBERS[0])
    for run in train(config_, MEMBERS[:1], SEEDS):
        assert run.record.n_together == n_together
        assert isinstance(run.model, stable_baselines3.PPO)
        difference = largest_difference(run.model, sb3)
        assert (difference == 0) == (n_together == 0)
        assert difference < 1e-4


def test_exact_members_are_trained_one_after_the_other_without_a_word() -> None:
    reasons: list[str] = []
    runs = together(hooks=Hooks(on_alone=reasons.append), exact=True, n_timesteps=64)
    assert [run.record.n_together for run in runs] == [0, 0, 0]
    assert reasons == []
