from __future__ import annotations

from dataclasses import replace

import numpy as np
import optuna
import pytest
from gymnasium.spaces import Box, Dict
from optuna.trial import FixedTrial
from stable_baselines3 import HerReplayBuffer

from samplers import SEARCH_SPACES, Size, SpaceContext, sample_dqn_params, sample_sac_params
from samplers.td3 import sample_td3_params
from tests.samplers_tests.support import (
    BOX_OBSERVATIONS,
    HER,
    LONGEST_EPISODE,
    OFF_POLICY,
    draw,
    make_context,
)

DQN_DEFAULTS = SEARCH_SPACES["dqn"].default_params
SAC_DEFAULTS = SEARCH_SPACES["sac"].default_params
TD3_DEFAULTS = SEARCH_SPACES["td3"].default_params
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
        assert point.kwargs["learning_starts"] <= 0.1 * n_timesteps


@for_off_policy
def test_small_space_keeps_the_default_batch(algo: str) -> None:
    expected = 32 if algo in ("dqn", "qrdqn") else 256
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


@pytest.mark.parametrize("algo", ["dqn", "qrdqn"])
@pytest.mark.parametrize("n_envs", [1, 4, 16])
def test_q_network_target_is_updated_within_the_budget(algo: str, n_envs: int) -> None:
    for point in draw(algo, make_context(algo, n_envs=n_envs), "full", 100):
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


@pytest.mark.parametrize("algo", ["crossq", "sac", "tqc"])
def test_conditional_dimensions_are_sampled_only_where_they_matter(algo: str) -> None:
    for point in draw(algo, make_context(algo), "full", 100):
        fixed = point.params["ent_coef_mode"] == "fixed"
        assert ("ent_coef_fixed" in point.params) == fixed
        assert ("target_entropy_scale" in point.params) == (not fixed)
        assert ("sde_sample_freq" in point.params) == point.params["use_sde"]
        assert ("log_std_init" in point.params) == point.params["use_sde"]
        assert ("use_expln" in point.params) == point.params["use_sde"]


def test_sac_target_entropy_is_a_multiple_of_the_action_dimensions() -> None:
    trial = FixedTrial({**SAC_DEFAULTS, "target_entropy_scale": 0.5})
    context = SpaceContext(n_timesteps=1_000_000, action_space=Box(-1.0, 1.0, (3,)))
    assert sample_sac_params(trial, context=context, size="full")["target_entropy"] == -1.5
    assert trial.user_attrs["target_entropy"] == -1.5


@pytest.mark.parametrize(("sampled", "used"), [(5, 0), (9, 0), (10, 10), (500, 500)])
def test_warm_up_is_absent_below_ten_steps(sampled: int, used: int) -> None:
    trial = FixedTrial({**DQN_DEFAULTS, "buffer_size": 20_000, "learning_starts": sampled})
    context = make_context("dqn", n_timesteps=100_000)
    assert sample_dqn_params(trial, context=context, size="full")["learning_starts"] == used
    assert trial.user_attrs["learning_starts"] == used


@pytest.mark.parametrize("algo", HER)
@pytest.mark.parametrize("n_envs", [1, 4])
@pytest.mark.parametrize("longest_episode", [4, 600])
def test_hindsight_starts_after_the_first_episodes(
    algo: str, n_envs: int, longest_episode: int
) -> None:
    context = make_context(algo, kind="goal", n_envs=n_envs)
    context = replace(context, longest_episode=longest_episode)
    for point in draw(algo, context, "full", 20):
        first_end = longest_episode * n_envs
        assert first_end <= point.kwargs["learning_starts"] <= max(first_end, 2_000)
        assert point.kwargs["buffer_size"] >= 2 * first_end
        assert 0.9 <= point.kwargs["gamma"] <= 0.995
        assert "n_steps" not in point.kwargs
        assert point.kwargs["replay_buffer_class"] is HerReplayBuffer
        assert set(point.kwargs["replay_buffer_kwargs"]) == {
            "n_sampled_goal",
            "goal_selection_strategy",
        }


@pytest.mark.parametrize("algo", HER)
def test_goals_are_not_relabelled_unless_asked_for(algo: str) -> None:
    context = replace(make_context(algo, kind="goal"), her=False)
    for point in draw(algo, context, "full", 5):
        assert not {"replay_buffer_class", "replay_buffer_kwargs"} & set(point.kwargs)


def test_hindsight_offers_the_batches_and_networks_of_rl_zoo_by_default() -> None:
    context = make_context("tqc", kind="goal", n_timesteps=1_000_000)
    points = draw("tqc", context, "default", 200)
    assert max(point.kwargs["batch_size"] for point in points) == 2048
    assert [512, 512, 512] in [point.attrs["net_arch"] for point in points]
    assert {point.kwargs["learning_starts"] for point in points} == {LONGEST_EPISODE}


def test_tqc_always_keeps_a_quantile() -> None:
    points = draw("tqc", make_context("tqc"), "full", 300)
    left = [
        point.kwargs["policy_kwargs"]["n_quantiles"]
        - point.kwargs["top_quantiles_to_drop_per_net"]
        for point in points
    ]
    assert 1 <= min(left) <= 3


@pytest.mark.parametrize(("n_timesteps", "warm_up"), [(20_000, 2_000), (5_000_000, 100_000)])
def test_crossq_trusts_its_statistics_within_the_budget(n_timesteps: int, warm_up: int) -> None:
    for point in draw("crossq", make_context("crossq", n_timesteps=n_timesteps), "small", 3):
        assert point.kwargs["policy_kwargs"] == {"renorm_warmup_steps": warm_up}


def test_crossq_has_no_target_network() -> None:
    for point in draw("crossq", make_context("crossq"), "full", 20):
        assert not {"tau", "target_update_interval"} & set(point.kwargs)


@pytest.mark.parametrize("algo", ["ddpg", "dqn", "sac", "td3"])
def test_bare_sampler_leaves_the_buffer_to_sb3(algo: str) -> None:
    """A user's own script may train for longer than any budget that could be assumed."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    sizes: tuple[Size, ...] = ("small", "default")
    for size in sizes:
        kwargs = SEARCH_SPACES[algo].sample(study.ask(), size=size)
        assert "buffer_size" not in kwargs
    known = SpaceContext(n_timesteps=30_000)
    assert SEARCH_SPACES[algo].sample(study.ask(), context=known)["buffer_size"] == 30_000
