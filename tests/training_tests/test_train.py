from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

from sb3_hpo.algorithms.kwargs import serialize_kwargs
from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.envs.factory import make_evaluation_envs
from sb3_hpo.training.evaluation_episodes import EpisodePlan, run_episodes
from sb3_hpo.training.hooks import Hooks, RunRequest, StopRun
from sb3_hpo.training.train import build_once, train
from tests.support.envs import start_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sb3_hpo.results.run_record import Evaluation
    from sb3_hpo.training.run import TrainedRun

SEEDS = (11, 12, 13)
PPO = {"n_steps": 16, "batch_size": 16, "n_epochs": 1}


def config(env: str = "KnownReturnEnv", **values: Any) -> StudyConfig:
    defaults = {"algo": "ppo", "n_timesteps": 640, "n_envs": 2, "n_eval_episodes": 3}
    return make_config({**defaults, "env": f"tests.support.envs:{env}", **values})


def run(
    config_: StudyConfig,
    kwargs: Mapping[str, Any] = PPO,
    *,
    seed: int = 1,
    hooks: Hooks | None = None,
) -> TrainedRun:
    (trained,) = train(config_, [RunRequest(kwargs, seed)], SEEDS, hooks)
    return trained


def test_train_known_returns_gives_exact_curve() -> None:
    record = run(config()).record
    expected = [10 * start_of(seed) for seed in SEEDS]
    assert len(record.evaluations) == 10
    for evaluation in record.evaluations:
        assert evaluation.returns == pytest.approx(expected, abs=1e-6)
        assert evaluation.lengths == (10, 10, 10)


def test_train_on_policy_evaluates_at_first_boundary_at_or_past_each_grid_step() -> None:
    record = run(config(n_timesteps=1000)).record  # rollouts of 32 steps
    assert [e.nominal_step for e in record.evaluations] == [100 * k for k in range(1, 11)]
    assert [e.actual_step for e in record.evaluations] == [
        128, 224, 320, 416, 512, 608, 704, 800, 928, 1024,
    ]  # fmt: skip
    assert record.n_steps == 1024


def test_train_last_evaluation_sees_the_last_update() -> None:
    trained = run(config("TargetEnv"))
    assert trained.model is not None
    venv = make_evaluation_envs(config("TargetEnv"), 100)
    final = run_episodes(trained.model, venv, EpisodePlan(episode_seeds=SEEDS))
    assert trained.record.evaluations[-1].returns == final.returns
    assert trained.record.evaluations[-1].actual_step == 640


def test_train_off_policy_evaluates_every_grid_step_once() -> None:
    kwargs = {"learning_starts": 20, "buffer_size": 200, "batch_size": 16, "train_freq": 4}
    record = run(config(algo="sac", n_timesteps=120, n_envs=1, n_evaluations=6), kwargs).record
    assert [e.nominal_step for e in record.evaluations] == [20, 40, 60, 80, 100, 120]
    assert [e.actual_step for e in record.evaluations] == [20, 40, 60, 80, 100, 120]
    assert record.n_updates == 25  # one for every 4 of the 100 steps after the first 20


def test_train_rollout_past_several_grid_steps_fills_each() -> None:
    record = run(config(), {"n_steps": 128, "batch_size": 64}).record  # 256 steps a rollout
    assert [e.actual_step for e in record.evaluations] == [
        256, 256, 256, 256, 512, 512, 512, 512, 768, 768,
    ]  # fmt: skip


def test_train_same_seed_gives_equal_records() -> None:
    first, second = (run(config("TargetEnv")).record for _ in range(2))
    assert [e.returns for e in first.evaluations] == [e.returns for e in second.evaluations]
    other = run(config("TargetEnv"), seed=2).record
    assert [e.returns for e in first.evaluations] != [e.returns for e in other.evaluations]


def test_train_evaluating_does_not_disturb_training() -> None:
    rarely, often = (
        run(config("TargetEnv", n_evaluations=n, n_eval_episodes=3)).record for n in (6, 20)
    )
    assert rarely.evaluations[-1].returns == often.evaluations[-1].returns


def test_train_several_members_yields_one_record_each_in_order() -> None:
    members = [RunRequest({**PPO, "gamma": gamma}, seed) for seed, gamma in ((1, 0.9), (2, 0.95))]
    records = [trained.record for trained in train(config(), members, SEEDS)]
    assert [(r.seed, r.kwargs["gamma"]) for r in records] == [(1, 0.9), (2, 0.95)]


def test_train_dropped_member_stops_at_that_grid_step() -> None:
    def drop(_: int, evaluation: Evaluation) -> tuple[int, ...]:
        return (0,) if evaluation.nominal_step == 128 else ()

    record = run(config(), hooks=Hooks(on_evaluation=drop)).record
    assert (record.outcome, record.reason) == ("dropped", "dropped at step 128")
    assert [e.nominal_step for e in record.evaluations] == [64, 128]
    assert record.n_steps == 128


def test_train_stop_run_in_step_ends_with_its_outcome() -> None:
    def stop(n_steps: int) -> None:
        if n_steps >= 100:
            raise StopRun("timeout", "too slow")

    record = run(config(), hooks=Hooks(on_step=stop)).record
    assert (record.outcome, record.reason, record.n_steps) == ("timeout", "too slow", 100)


def test_train_non_finite_weights_end_as_diverged() -> None:
    class Poison(BaseCallback):
        def _on_step(self) -> bool:
            with torch.no_grad():
                next(self.model.policy.parameters()).fill_(float("nan"))
            return True

    kwargs = {"learning_starts": 1000, "buffer_size": 100}  # silent in SB3: TD3 raises nothing
    hooks = Hooks(callbacks=[Poison()])
    record = run(config(algo="td3", n_timesteps=100, n_envs=1), kwargs, hooks=hooks).record
    assert record.outcome == "diverged"
    assert "is not finite at step" in str(record.reason)


def test_train_nan_in_sb3_distribution_is_diverged_not_an_error() -> None:
    record = run(config("TargetEnv"), {**PPO, "learning_rate": 1e30}).record
    assert record.outcome == "diverged"


def test_train_nan_reward_is_diverged() -> None:
    record = run(config("NanRewardEnv")).record
    assert record.outcome == "diverged"


@pytest.mark.parametrize("error", [ValueError, RuntimeError])
def test_train_bug_in_env_passes_through(error: type[Exception]) -> None:
    with pytest.raises(error, match="the gripper is gone"):
        run(config("RaisingEnv", env_kwargs={"error": error.__name__}))


def test_train_exit_in_env_is_a_bug_at_its_place() -> None:
    with pytest.raises(RuntimeError, match=r"called sys\.exit\('the gripper is gone'\)") as caught:
        run(config("RaisingEnv", env_kwargs={"error": "SystemExit"}))
    assert Path(caught.traceback[-1].path).name == "envs.py"


def test_train_out_of_memory_is_an_outcome() -> None:
    record = run(config("RaisingEnv", env_kwargs={"error": "MemoryError"})).record
    assert (record.outcome, record.reason) == ("oom", "MemoryError: the gripper is gone")


def test_train_endless_episode_is_cut_and_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sb3_hpo.training.evaluation_episodes.MIN_EPISODE_CAP", 30)
    record = run(config("EndlessEnv", n_timesteps=64, n_evaluations=6)).record
    assert record.evaluations[-1].truncated
    assert record.evaluations[-1].lengths == (64, 64, 64)


def test_train_user_callback_that_stops_leaves_a_full_curve() -> None:
    class StopEarly(BaseCallback):
        ended = 0

        def _on_step(self) -> bool:
            return self.num_timesteps < 100

        def _on_training_end(self) -> None:
            self.ended += 1

    callback = StopEarly()
    record = run(config(), hooks=Hooks(callbacks=[callback])).record
    assert record.outcome == "finished"
    assert [e.actual_step for e in record.evaluations] == [64] + [100] * 9
    assert callback.ended == 1


def test_train_dropped_still_ends_user_callbacks() -> None:
    class Ended(BaseCallback):
        ended = 0

        def _on_step(self) -> bool:
            return True

        def _on_training_end(self) -> None:
            self.ended += 1

    callback = Ended()
    run(config(), hooks=Hooks(on_evaluation=lambda _, __: (0,), callbacks=[callback]))
    assert callback.ended == 1


def test_train_policy_kwargs_merge_and_the_users_win() -> None:
    sampled = {**PPO, "policy_kwargs": {"net_arch": [8], "activation_fn": torch.nn.ReLU}}
    trained = run(config(policy_kwargs={"net_arch": [4, 4]}), sampled)
    assert trained.record.kwargs["policy_kwargs"] == {
        "net_arch": [4, 4],
        "activation_fn": serialize_kwargs(torch.nn.ReLU),
    }
    assert trained.model is not None
    assert trained.model.policy_kwargs["net_arch"] == [4, 4]
    assert sampled["policy_kwargs"] == {"net_arch": [8], "activation_fn": torch.nn.ReLU}


def test_train_normalize_uses_the_trials_gamma_and_returns_statistics() -> None:
    trained = run(config(normalize=True), {**PPO, "gamma": 0.9})
    assert trained.vec_normalize is not None
    assert trained.vec_normalize.gamma == 0.9
    expected = [10 * start_of(seed) for seed in SEEDS]  # raw, not normalised
    assert trained.record.evaluations[-1].returns == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n_eval_envs", [1, 2, 3])
def test_train_curve_does_not_depend_on_the_number_of_eval_envs(n_eval_envs: int) -> None:
    record = run(config("TargetEnv", n_eval_envs=n_eval_envs)).record
    reference = run(config("TargetEnv")).record
    assert [e.returns for e in record.evaluations] == [e.returns for e in reference.evaluations]


def test_train_shared_envs_evaluates_the_same_start_states() -> None:
    record = run(config(n_eval_envs=0)).record
    expected = [10 * start_of(seed) for seed in SEEDS]
    assert record.evaluations[-1].returns == pytest.approx(expected, abs=1e-6)
    assert record.n_steps == 640


@pytest.mark.parametrize(
    ("env", "policy"),
    [
        ("KnownReturnEnv", "ActorCriticPolicy"),
        ("ImageEnv", "ActorCriticCnnPolicy"),
        ("DictEnv", "MultiInputActorCriticPolicy"),
    ],
)
def test_train_policy_is_chosen_by_the_observations(env: str, policy: str) -> None:
    trained = run(config(env, n_timesteps=64, n_evaluations=6))
    assert trained.model is not None
    assert type(trained.model.policy).__name__ == policy
    assert trained.model.device == torch.device("cpu")


def test_train_restores_the_callers_thread_count() -> None:
    before = torch.get_num_threads()
    seen = []

    def note(_n_steps: int) -> None:
        seen.append(torch.get_num_threads())

    record = run(config(n_threads=2), hooks=Hooks(on_step=note)).record
    assert set(seen) == {2}
    assert (record.n_threads, torch.get_num_threads()) == (2, before)


def test_train_subproc_envs_give_the_curve_of_dummy_envs() -> None:
    values = {"n_timesteps": 192, "n_evaluations": 6}
    dummy, subproc = (
        run(config("TargetEnv", vec_env=kind, **values)).record for kind in ("dummy", "subproc")
    )
    assert np.array_equal(
        [e.returns for e in dummy.evaluations], [e.returns for e in subproc.evaluations]
    )


def test_train_tensorboard_writes_event_files(tmp_path: Any) -> None:
    run(config(n_timesteps=64, n_evaluations=6), hooks=Hooks(tensorboard_dir=tmp_path))
    assert [path.suffix for path in tmp_path.rglob("events.out.*")] != []


def test_train_error_caused_by_nan_weights_is_diverged() -> None:
    class PoisonAndFail(BaseCallback):
        def _on_step(self) -> bool:
            with torch.no_grad():
                next(self.model.policy.parameters()).fill_(float("nan"))
            raise ValueError("actions out of range")

    record = run(config(), hooks=Hooks(callbacks=[PoisonAndFail()])).record
    assert record.outcome == "diverged"
    assert str(record.reason).endswith("it caused ValueError: actions out of range")


def test_train_cpu_allocator_out_of_memory_is_an_outcome() -> None:
    class Allocate(BaseCallback):
        def _on_step(self) -> bool:
            torch.empty(2**60)
            return True

    record = run(config(), hooks=Hooks(callbacks=[Allocate()])).record
    assert record.outcome == "oom"
    assert "can't allocate memory" in str(record.reason)


@pytest.mark.parametrize(
    ("buffer_size", "n_timesteps", "reason"),
    [
        (10_000, 10**6, "10,000 transitions in the replay buffer need 0.00032 GB"),
        # Little of it would be written, but no address space is that large.
        (10**14, 100, "MemoryError: Unable to allocate"),
    ],
)
def test_train_too_large_replay_buffer_is_an_outcome(
    buffer_size: int, n_timesteps: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sb3_hpo.training.memory.available_memory", lambda: 100_000)
    trained = run(config(algo="sac", n_timesteps=n_timesteps), {"buffer_size": buffer_size})
    assert trained.record.outcome == "oom"
    assert reason in str(trained.record.reason)
    assert trained.model is None


def test_train_short_run_with_a_large_replay_buffer_finishes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sb3_hpo.training.memory.available_memory", lambda: 120 * 32)
    kwargs = {"learning_starts": 1000, "buffer_size": 100_000}
    outcomes = [
        run(config(algo="sac", n_timesteps=n, n_envs=1, n_evaluations=6), kwargs).record.outcome
        for n in (120, 121)
    ]
    assert outcomes == ["finished", "oom"]


@pytest.mark.parametrize(("buffer_size", "n_timesteps"), [(10_000, 10**6), (10**14, 100)])
def test_build_once_one_sample_too_large_does_not_refuse_the_study(
    buffer_size: int, n_timesteps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sb3_hpo.training.memory.available_memory", lambda: 100_000)
    sac = config(algo="sac", n_timesteps=n_timesteps)
    build_once(sac, {"buffer_size": buffer_size})
    with pytest.raises(TypeError, match="unexpected keyword argument 'buffer'"):
        build_once(sac, {"buffer": 10})
