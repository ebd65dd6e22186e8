from __future__ import annotations

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict
from optuna.trial import FixedTrial

from samplers import SEARCH_SPACES, SpaceContext, sample_dqn_params, sample_sac_params
from samplers.dqn import DEFAULT_PARAMS as DQN_DEFAULTS
from samplers.sac import DEFAULT_PARAMS as SAC_DEFAULTS
from samplers.td3 import DEFAULT_PARAMS as TD3_DEFAULTS
from samplers.td3 import sample_td3_params
from tests.samplers_tests.support import BOX_OBSERVATIONS, draw, make_context

OFF_POLICY = ["ddpg", "dqn", "sac", "td3"]
for_off_policy = pytest.mark.parametrize("algo", OFF_POLICY)


@pytest.mark.parametrize(
    ("n_envs", "train_freq_pow", "ratio_pow", "train_freq", "gradient_steps"),
    [
        (1, 0, 0, 1, 1),
        (4, 0, 0, 1, 4),
        (4, 3, -1, 8, 16),
        (1, 0, -2, 4, 1),  # raised: a quarter of an update needs four steps
        (5, 0, -2, 1, 1),  # 1.25 updates are rounded down
        (1, 6, 1, 64, 128),
    ],
)
def test_updates_follow_from_the_ratio(
    n_envs: int, train_freq_pow: int, ratio_pow: int, train_freq: int, gradient_steps: int
) -> None:
    point = {**SAC_DEFAULTS, "train_freq_pow": train_freq_pow, "update_to_data_pow": ratio_pow}
    trial = FixedTrial(point)
    kwargs = sample_sac_params(trial, context=make_context("sac", n_envs=n_envs))
    assert (kwargs["train_freq"], kwargs["gradient_steps"]) == (train_freq, gradient_steps)
    assert trial.user_attrs["train_freq"] == train_freq
    assert trial.user_attrs["gradient_steps"] == gradient_steps
    assert trial.user_attrs["update_to_data"] == gradient_steps / (train_freq * n_envs)


def test_rollout_is_not_prolonged_beyond_the_evaluation_grid() -> None:
    context = make_context("dqn", n_timesteps=60)
    point = {**DQN_DEFAULTS, "train_freq_pow": 0, "update_to_data_pow": -3,
             "target_update_interval": 6}  # fmt: skip
    trial = FixedTrial(point)
    kwargs = sample_dqn_params(trial, context=context)
    assert (kwargs["train_freq"], kwargs["gradient_steps"]) == (6, 1)


@for_off_policy
@pytest.mark.parametrize("n_timesteps", [200, 1_000, 2_000, 50_000, 5_000_000])
def test_buffer_holds_a_batch_and_learning_starts_early(algo: str, n_timesteps: int) -> None:
    for point in draw(algo, make_context(algo, n_timesteps=n_timesteps), "full", 30):
        buffer_size = point.kwargs["buffer_size"]
        assert point.kwargs["batch_size"] <= buffer_size <= min(1_000_000, n_timesteps)
        assert point.kwargs["learning_starts"] < 0.1 * n_timesteps


@for_off_policy
def test_small_space_keeps_the_default_batch(algo: str) -> None:
    expected = 32 if algo == "dqn" else 256
    for point in draw(algo, make_context(algo), "small", 5):
        assert point.kwargs["batch_size"] == expected


def test_image_buffer_stays_below_four_gibibytes() -> None:
    images = Box(0, 255, (84, 84, 4), np.uint8)
    context = SpaceContext(n_timesteps=1_000_000, observation_space=images)
    points = draw("dqn", context, "full", 100)
    # 2 x 28224 bytes per transition.
    assert max(point.distributions["buffer_size"].high for point in points) == 76_087  # type: ignore[attr-defined]


@for_off_policy
def test_n_step_returns_are_absent_for_dict_observations(algo: str) -> None:
    context = SpaceContext(observation_space=Dict({"position": BOX_OBSERVATIONS}))
    for point in draw(algo, context, "full", 10):
        assert "n_steps" not in point.kwargs


@for_off_policy
def test_n_step_returns_are_absent_for_unknown_observations(algo: str) -> None:
    for point in draw(algo, None, "full", 10):
        assert "n_steps" not in point.params


@pytest.mark.parametrize("n_envs", [1, 4, 16])
def test_dqn_target_is_updated_within_the_budget(n_envs: int) -> None:
    for point in draw("dqn", make_context("dqn", n_envs=n_envs), "full", 100):
        assert n_envs <= point.kwargs["target_update_interval"] <= 2_000


@pytest.mark.parametrize("algo", ["ddpg", "td3"])
def test_noise_has_the_shape_of_the_actions(algo: str) -> None:
    context = SpaceContext(action_space=Box(-1.0, 1.0, (3,)))
    defaults = SEARCH_SPACES[algo].default_params
    trial = FixedTrial({**defaults, "noise_type": "ou", "noise_std": 0.25})
    kwargs = SEARCH_SPACES[algo].sample(trial, context=context)
    assert kwargs["action_noise"]._sigma.tolist() == [0.25, 0.25, 0.25]
    assert kwargs["action_noise"]().shape == (3,)


@pytest.mark.parametrize("algo", ["ddpg", "td3"])
def test_noise_std_is_sampled_only_with_noise(algo: str) -> None:
    for point in draw(algo, make_context(algo), "small", 50):
        assert ("noise_std" in point.params) == (point.params["noise_type"] != "none")


def test_noise_is_absent_for_unknown_actions() -> None:
    kwargs = sample_td3_params(FixedTrial(dict(TD3_DEFAULTS)))
    assert "action_noise" not in kwargs


def test_sac_conditional_dimensions_are_sampled_only_where_they_matter() -> None:
    for point in draw("sac", make_context("sac"), "full", 100):
        fixed = point.params["ent_coef_mode"] == "fixed"
        assert ("ent_coef_fixed" in point.params) == fixed
        assert ("target_entropy_scale" in point.params) == (not fixed)
        assert ("sde_sample_freq" in point.params) == point.params["use_sde"]
        assert ("log_std_init" in point.params) == point.params["use_sde"]


def test_sac_target_entropy_is_a_multiple_of_the_action_dimensions() -> None:
    trial = FixedTrial({**SAC_DEFAULTS, "target_entropy_scale": 0.5})
    context = SpaceContext(n_timesteps=1_000_000, action_space=Box(-1.0, 1.0, (3,)))
    assert sample_sac_params(trial, context=context, size="full")["target_entropy"] == -1.5
    assert trial.user_attrs["target_entropy"] == -1.5
