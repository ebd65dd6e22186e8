from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, TD3
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.envs.factory import EnvFactory, make_evaluation_envs, make_training_envs
from sb3_hpo.training.evaluation_episodes import EpisodePlan
from sb3_hpo.training.evaluator import (
    Diverged,
    GridEvaluator,
    check_finite_parameters,
    evaluation_grid,
)
from sb3_hpo.utils.errors import UserError
from tests.support.envs import KnownReturnEnv, start_of

SEEDS = (11, 12, 13)
RETURNS = [10 * start_of(seed) for seed in SEEDS]
PLAN = EpisodePlan(episode_seeds=SEEDS)
GRID = (100, 200, 300)


def config(env: str = "KnownReturnEnv", **values: Any) -> StudyConfig:
    defaults = {"algo": "ppo", "n_envs": 2, "n_eval_episodes": 3, "n_eval_envs": 2}
    return make_config({**defaults, "env": f"tests.support.envs:{env}", **values})


def ppo(venv: VecEnv) -> PPO:
    return PPO("MlpPolicy", venv, n_steps=16, batch_size=16, n_epochs=1, seed=0, device="cpu")


def evaluator_for(model: PPO, env: str = "KnownReturnEnv", **plan: Any) -> GridEvaluator:
    venv = DummyVecEnv([EnvFactory(f"tests.support.envs:{env}")])
    return GridEvaluator(venv, GRID, EpisodePlan(**{"episode_seeds": SEEDS, **plan}))


def statistics(venv: VecNormalize) -> RunningMeanStd:
    stats: Any = venv.obs_rms
    assert isinstance(stats, RunningMeanStd)
    return stats


@pytest.fixture
def model() -> PPO:
    """A model at step 100."""
    made = ppo(make_training_envs(config(), 0.99))
    made.num_timesteps = 100
    return made


@pytest.mark.parametrize(
    ("n_timesteps", "n_evaluations", "grid"),
    [(100, 4, (25, 50, 75, 100)), (10, 3, (3, 6, 10)), (7, 1, (7,))],
)
def test_evaluation_grid_ends_at_the_budget(
    n_timesteps: int, n_evaluations: int, grid: tuple[int, ...]
) -> None:
    assert evaluation_grid(n_timesteps, n_evaluations) == grid


@pytest.mark.parametrize(
    ("n_steps", "final", "due"),
    [
        (99, False, ()),
        (100, False, (100,)),
        (199, False, (100,)),
        (250, False, (100, 200)),
        (999, False, (100, 200, 300)),
        (0, True, (100, 200, 300)),
    ],
)
def test_due_before_any_evaluation_is_what_was_reached(
    n_steps: int, final: bool, due: tuple[int, ...]
) -> None:
    assert GridEvaluator(None, GRID, PLAN).due(n_steps, final=final) == due


def test_evaluate_each_grid_step_once(model: PPO) -> None:
    evaluator = evaluator_for(model)
    steps = []
    for n_steps in (50, 100, 150, 200, 299):
        model.num_timesteps = n_steps
        steps.append([(e.nominal_step, e.actual_step) for e in evaluator.evaluate(model)])
    assert steps == [[], [(100, 100)], [], [(200, 200)], []]


def test_evaluate_several_due_at_once_share_their_numbers(model: PPO) -> None:
    model.num_timesteps = 256
    first, second = evaluator_for(model).evaluate(model)
    assert (first.nominal_step, second.nominal_step) == (100, 200)
    assert (first.actual_step, second.actual_step) == (256, 256)
    assert first.returns == second.returns == pytest.approx(RETURNS, abs=1e-6)
    assert first.seconds == second.seconds > 0


def test_evaluate_final_gives_the_rest_then_nothing(model: PPO) -> None:
    evaluator = evaluator_for(model)
    evaluator.evaluate(model)
    model.num_timesteps = 150
    rest = evaluator.evaluate(model, final=True)
    assert [(e.nominal_step, e.actual_step) for e in rest] == [(200, 150), (300, 150)]
    assert evaluator.evaluate(model, final=True) == ()


def test_evaluate_metric_arrives_in_the_evaluation(model: PPO) -> None:
    (evaluation,) = evaluator_for(model, metric="is_success").evaluate(model)
    assert evaluation.metric == tuple(float(start_of(seed) > 0.5) for seed in SEEDS)
    assert evaluation.lengths == (10, 10, 10)


def test_evaluate_non_finite_weights_are_diverged(model: PPO) -> None:
    with torch.no_grad():
        model.policy.get_parameter("action_net.bias").fill_(float("inf"))
    message = r"^parameter action_net\.bias is not finite at step 100$"
    with pytest.raises(Diverged, match=message):
        evaluator_for(model).evaluate(model)
    with pytest.raises(Diverged, match=message):
        check_finite_parameters(model)


def test_evaluate_nan_reward_is_diverged(model: PPO) -> None:
    with pytest.raises(Diverged, match="evaluation at step 100 returned non-finite rewards"):
        evaluator_for(model, "NanRewardEnv").evaluate(model)


def test_evaluate_nan_metric_is_diverged(model: PPO) -> None:
    class NanMetric(KnownReturnEnv):
        def step(self, action: Any) -> Any:
            *rest, info = super().step(action)
            return *rest, {**info, "error": float("nan")}

    plan = EpisodePlan(episode_seeds=SEEDS, metric="error")
    with pytest.raises(Diverged, match="non-finite"):
        GridEvaluator(DummyVecEnv([NanMetric]), GRID, plan).evaluate(model)


def test_evaluate_normalised_envs_are_synced_and_rewards_raw() -> None:
    values = config(normalize=True, env_kwargs={"obs_scale": 100.0})
    training = make_training_envs(values, 0.99)
    model = ppo(training).learn(128)
    evaluation_envs = make_evaluation_envs(values, 1000)
    (evaluation,) = GridEvaluator(evaluation_envs, (128,), PLAN).evaluate(model)
    assert isinstance(training, VecNormalize)
    assert isinstance(evaluation_envs, VecNormalize)
    assert evaluation.returns == pytest.approx(RETURNS, abs=1e-6)
    assert statistics(training).mean[1] == pytest.approx(45, abs=5)
    assert np.array_equal(statistics(evaluation_envs).mean, statistics(training).mean)
    assert statistics(evaluation_envs).mean is not statistics(training).mean


@pytest.fixture
def normalised() -> tuple[PPO, VecNormalize]:
    """A trained model whose training environments are normalised."""
    venv = make_training_envs(config(normalize=True), 0.99)
    assert isinstance(venv, VecNormalize)
    return ppo(venv).learn(128), venv


def test_evaluate_in_training_envs_gives_raw_returns(
    normalised: tuple[PPO, VecNormalize],
) -> None:
    (evaluation,) = GridEvaluator(None, (128,), PLAN).evaluate(normalised[0])
    assert evaluation.returns == pytest.approx(RETURNS, abs=1e-6)


def test_evaluate_in_training_envs_keeps_statistics(
    normalised: tuple[PPO, VecNormalize],
) -> None:
    model, venv = normalised
    counts = [statistics(venv).count, venv.ret_rms.count]
    return_var = float(venv.ret_rms.var)
    GridEvaluator(None, (128,), PLAN).evaluate(model)
    assert (venv.training, venv.norm_reward) == (True, True)
    # The two fresh starts count as training's own; 60 evaluation steps do not.
    assert statistics(venv).count == counts[0] + 2
    assert (venv.ret_rms.count, float(venv.ret_rms.var)) == (counts[1], return_var)


def test_evaluate_in_training_envs_restores_flags_when_it_fails(
    normalised: tuple[PPO, VecNormalize],
) -> None:
    def fail() -> None:
        raise TimeoutError("enough")

    model, venv = normalised
    with pytest.raises(TimeoutError, match="enough"):
        GridEvaluator(None, (128,), PLAN, check=fail).evaluate(model)
    assert (venv.training, venv.norm_reward) == (True, True)


def test_evaluate_in_training_envs_lets_training_start_afresh(
    normalised: tuple[PPO, VecNormalize],
) -> None:
    model, venv = normalised
    GridEvaluator(None, (128,), PLAN).evaluate(model)
    original = venv.get_original_obs()
    assert isinstance(original, np.ndarray)
    assert original[:, 1].tolist() == [0.0, 0.0]  # both at their first step
    assert not set(original[:, 0].tolist()) & {np.float32(start_of(seed)) for seed in SEEDS}
    assert np.array_equal(model._last_obs, venv.normalize_obs(original))  # type: ignore[arg-type]
    assert model._last_episode_starts is not None
    assert model._last_episode_starts.tolist() == [True, True]


def test_evaluate_in_training_envs_off_policy_gets_its_original_observations() -> None:
    venv = make_training_envs(config(normalize=True, n_envs=1), 0.99)
    model = TD3("MlpPolicy", venv, buffer_size=100, learning_starts=1000, device="cpu").learn(25)
    assert isinstance(venv, VecNormalize)
    GridEvaluator(None, (25,), PLAN).evaluate(model)
    assert np.array_equal(model._last_original_obs, venv.get_original_obs())  # type: ignore[arg-type]
    assert np.array_equal(model._last_obs, venv.normalize_obs(venv.get_original_obs()))  # type: ignore[arg-type]


def test_evaluate_in_training_envs_of_seeded_runs_is_repeatable() -> None:
    starts = []
    for _ in range(2):
        venv = make_training_envs(config(), 0.99)
        model = ppo(venv).learn(32)
        GridEvaluator(None, (32,), PLAN).evaluate(model)
        starts.append(np.asarray(model._last_obs).tolist())
    assert starts[0] == starts[1]


def test_evaluate_model_without_envs_is_refused(model: PPO) -> None:
    model.env = None
    with pytest.raises(UserError, match="the model has no environment to be evaluated in"):
        GridEvaluator(None, GRID, PLAN).evaluate(model)
