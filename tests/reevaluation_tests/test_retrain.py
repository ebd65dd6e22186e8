from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.reevaluation.retrain import retrain
from sb3_hpo.results.reevaluation_runs import BASELINE, Candidate, make_request
from sb3_hpo.training.hooks import Hooks, StopRun
from tests.support.envs import KnownReturnEnv, start_of

if TYPE_CHECKING:
    from pathlib import Path

    from sb3_hpo.results.reevaluation_runs import ReevaluationRequest, ReevaluationRun, Stage

KWARGS = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "learning_rate": 0.01}


def config(env: str = "TargetEnv", **values: Any) -> StudyConfig:
    defaults = {
        "algo": "ppo", "env": f"tests.support.envs:{env}", "n_timesteps": 640, "n_envs": 2,
        "n_evaluations": 6, "n_eval_episodes": 3, "test_episodes": 40,
    }  # fmt: skip
    return make_config({**defaults, **values})


def request(
    config_: StudyConfig, stage: Stage = "test", seed_index: int = 0
) -> ReevaluationRequest:
    return make_request(config_, stage, Candidate(trial=0, kwargs=KWARGS), seed_index)


def retrain_one(
    config_: StudyConfig, wanted: ReevaluationRequest, save_to: Path | None = None, **hooks: Any
) -> ReevaluationRun:
    (run,) = retrain(config_, [wanted], Hooks(**hooks), folders=[save_to])
    return run


def test_retrain_judges_the_final_policy_on_the_test_episodes() -> None:
    config_ = config("KnownReturnEnv")
    wanted = request(config_)
    run = retrain_one(config_, wanted)
    assert run.final is not None
    assert len(wanted.final_seeds) == 40
    expected = [10 * start_of(seed) for seed in wanted.final_seeds]
    assert run.final.returns == pytest.approx(expected, abs=1e-5)
    curve = [10 * start_of(seed) for seed in wanted.episode_seeds]
    assert run.record.evaluations[-1].returns == pytest.approx(curve, abs=1e-5)
    assert (run.final.nominal_step, run.final.actual_step) == (640, 640)
    assert (run.key, run.trial, run.seed_index) == (wanted.key(config_), 0, 0)
    assert run.record.seed == wanted.seed


def test_retrain_twice_gives_the_same_numbers() -> None:
    config_ = config()
    first, second = (retrain_one(config_, request(config_)) for _ in range(2))
    assert first.final is not None
    assert second.final is not None
    assert first.final.returns == second.final.returns
    other = retrain_one(config_, request(config_, seed_index=1))
    assert other.record.seed != first.record.seed
    assert other.final is not None
    assert other.final.returns != first.final.returns


def test_retrain_in_the_race_has_a_curve_and_no_test() -> None:
    run = retrain_one(config(), request(config(), "race"))
    assert len(run.record.evaluations) == 6
    assert run.final is None
    assert run.episode_values == ()


def test_retrain_saves_the_policy_that_was_judged(tmp_path: Path) -> None:
    config_ = config("TargetEnv", normalize=True)
    run = retrain_one(config_, request(config_), save_to=tmp_path / "models" / "a")
    assert run.final is not None
    model = PPO.load(tmp_path / "models" / "a" / "model.zip", device="cpu")
    venv = VecNormalize.load(
        str(tmp_path / "models" / "a" / "vecnormalize.pkl"),
        DummyVecEnv([KnownReturnEnv]),
    )
    venv.training = False
    # TargetEnv pays by the action alone, so the saved policy's first action tells its return.
    venv.seed(request(config_).final_seeds[0])
    action, _ = model.predict(venv.reset(), deterministic=True)
    first = -abs(float(action.reshape(-1)[0]) - 0.5)
    assert run.final.returns[0] == pytest.approx(10 * first, abs=1.0)


def test_retrain_evaluates_in_the_training_environments_where_asked() -> None:
    config_ = config("KnownReturnEnv", n_eval_envs=0)
    wanted = request(config_)
    run = retrain_one(config_, wanted)
    assert run.final is not None
    expected = [10 * start_of(seed) for seed in wanted.final_seeds]
    assert run.final.returns == pytest.approx(expected, abs=1e-5)


def test_retrain_records_divergence_and_saves_nothing(tmp_path: Path) -> None:
    config_ = config("NanRewardEnv")
    run = retrain_one(config_, request(config_), save_to=tmp_path / "a")
    assert (run.record.outcome, run.final) == ("diverged", None)
    assert not (tmp_path / "a").exists()


def test_retrain_records_the_metric_of_the_test_episodes() -> None:
    config_ = config("KnownReturnEnv", metric="is_success")
    wanted = request(config_)
    expected = [float(start_of(seed) > 0.5) for seed in wanted.final_seeds]
    assert list(retrain_one(config_, wanted).episode_values) == expected


def test_retrain_ends_when_its_caller_says_so() -> None:
    def stop(n_steps: int) -> None:
        if n_steps > 100:
            raise StopRun("interrupted", "enough")

    run = retrain_one(config(), request(config()), on_step=stop)
    assert (run.record.outcome, run.record.reason) == ("interrupted", "enough")
    assert run.final is None


def test_retrain_baseline_is_what_users_write(tmp_path: Path) -> None:
    config_ = config(
        n_timesteps=2000, n_envs=8, normalize=True, policy_kwargs={"net_arch": [8]},
        fixed={"gamma": 0.5},
    )  # fmt: skip
    run = retrain_one(config_, make_request(config_, "test", BASELINE, 0), save_to=tmp_path)
    assert (run.trial, run.record.kwargs) == (None, {})
    assert run.record.n_steps == 2048  # one rollout of one environment, not of eight
    model = PPO.load(tmp_path / "model.zip", device="cpu")
    assert (model.n_envs, model.n_steps, model.gamma, model.policy_kwargs) == (1, 2048, 0.99, {})
    assert list(tmp_path.iterdir()) == [tmp_path / "model.zip"]  # and no VecNormalize


def test_retrain_baseline_has_a_replay_buffer_of_the_budget() -> None:
    config_ = config("make_discrete_env", algo="dqn", n_envs=1)
    run = retrain_one(config_, make_request(config_, "test", BASELINE, 0))
    assert run.record.kwargs == {"buffer_size": 640}


@pytest.mark.slow
def test_retrain_baseline_with_hindsight_learns_after_the_first_episode() -> None:
    config_ = config(
        "make_goal_env",
        algo="sac",
        her=True,
        n_timesteps=200,
        env_kwargs={"n_steps": 120},
        n_envs=1,
    )
    run = retrain_one(config_, make_request(config_, "test", BASELINE, 0))
    buffer = {"$import": "stable_baselines3.her.her_replay_buffer:HerReplayBuffer"}
    assert run.record.kwargs == {
        "buffer_size": 200, "learning_starts": 120, "replay_buffer_class": buffer,
    }  # fmt: skip


def test_retrain_judges_all_episodes_however_long_they_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter(range(0, 10**9, 100))  # each look at it is a hundred seconds later
    config_ = config("KnownReturnEnv")
    monkeypatch.setattr("sb3_hpo.training.evaluation_episodes.time.monotonic", lambda: next(clock))
    run = retrain_one(config_, request(config_))
    assert run.final is not None
    assert (len(run.final.returns), run.final.truncated) == (40, False)
    assert any(evaluation.truncated for evaluation in run.record.evaluations)
