from __future__ import annotations

import math
from typing import Any

import pytest
from optuna.trial import FixedTrial

from samplers import (
    SEARCH_SPACES,
    SpaceContext,
    sample_a2c_params,
    sample_ars_params,
    sample_ppo_params,
    sample_recurrent_ppo_params,
    sample_trpo_params,
)
from tests.samplers_tests.support import (
    BOX_ACTIONS,
    DISCRETE_ACTIONS,
    ON_POLICY,
    draw,
    make_context,
)

A2C_DEFAULTS = SEARCH_SPACES["a2c"].default_params
ARS_DEFAULTS = SEARCH_SPACES["ars"].default_params
PPO_DEFAULTS = SEARCH_SPACES["ppo"].default_params
RECURRENT_DEFAULTS = SEARCH_SPACES["recurrent_ppo"].default_params
TRPO_DEFAULTS = SEARCH_SPACES["trpo"].default_params


class HeldTrial:
    """A trial that answers with any value held for a name, also outside its distribution."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params
        self.user_attrs: dict[str, Any] = {}

    def suggest_float(self, name: str, low: float, high: float, **kwargs: Any) -> Any:
        return self.params[name]

    def suggest_int(self, name: str, low: int, high: int, **kwargs: Any) -> Any:
        return self.params[name]

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return self.params[name]

    def set_user_attr(self, key: str, value: Any) -> None:
        self.user_attrs[key] = value


@pytest.mark.parametrize("algo", ["maskable_ppo", "ppo", "recurrent_ppo", "trpo"])
@pytest.mark.parametrize("n_envs", [1, 4, 5, 8, 16])
@pytest.mark.parametrize("n_timesteps", [2_560, 3_000, 1_000_000])
def test_batches_divide_the_rollout_and_are_not_tiny(
    algo: str, n_envs: int, n_timesteps: int
) -> None:
    # A last batch of a single sample would make RecurrentPPO's and MaskablePPO's weights NaN.
    context = make_context(algo, n_envs=n_envs, n_timesteps=n_timesteps)
    for point in draw(algo, context, "full", 20):
        rollout = point.kwargs["n_steps"] * n_envs
        assert rollout % point.kwargs["batch_size"] == 0
        assert point.kwargs["batch_size"] >= min(16, rollout)
        assert rollout == point.attrs["n_minibatches"] * point.kwargs["batch_size"]


@pytest.mark.parametrize(("n_envs", "shortest"), [(1, 32), (4, 8), (5, 8), (16, 8)])
def test_ppo_rollout_has_at_least_32_samples(n_envs: int, shortest: int) -> None:
    points = draw("ppo", make_context("ppo", n_envs=n_envs), "default", 200)
    assert min(point.kwargs["n_steps"] for point in points) == shortest


def test_ppo_rollout_below_32_samples_where_the_budget_is_tiny() -> None:
    points = draw("ppo", make_context("ppo", n_timesteps=160), "default", 20)
    assert {point.kwargs["n_steps"] for point in points} == {16}


@pytest.mark.parametrize(("one_minus_gamma", "gamma"), [(0.2, 0.8), (1e-4, 0.9999)])
def test_ppo_reaches_short_and_long_horizons(one_minus_gamma: float, gamma: float) -> None:
    trial = FixedTrial({**PPO_DEFAULTS, "one_minus_gamma": one_minus_gamma})
    assert sample_ppo_params(trial)["gamma"] == gamma
    assert trial.user_attrs["gamma"] == gamma


def test_ppo_reaches_its_default_rollout_with_a_hundred_thousand_steps() -> None:
    kwargs = sample_ppo_params(
        FixedTrial(dict(PPO_DEFAULTS)), context=SpaceContext(n_timesteps=100_000)
    )
    assert (kwargs["n_steps"], kwargs["batch_size"], kwargs["n_epochs"]) == (2048, 64, 10)


@pytest.mark.parametrize(
    ("one_minus", "gae_lambda"), [(5e-4, 1.0), (9.9e-4, 1.0), (1e-3, 0.999), (0.25, 0.75)]
)
def test_lambda_is_one_below_the_threshold(one_minus: float, gae_lambda: float) -> None:
    trial = FixedTrial({**PPO_DEFAULTS, "one_minus_gae_lambda": one_minus})
    assert sample_ppo_params(trial)["gae_lambda"] == gae_lambda
    assert trial.user_attrs["gae_lambda"] == gae_lambda


@pytest.mark.parametrize(("sampled", "used"), [(1e-8, 0.0), (9e-8, 0.0), (1e-7, 1e-7)])
def test_entropy_coefficient_is_zero_below_the_threshold(sampled: float, used: float) -> None:
    trial = FixedTrial({**A2C_DEFAULTS, "ent_coef": sampled})
    assert sample_a2c_params(trial)["ent_coef"] == used
    assert trial.user_attrs["ent_coef"] == used


@pytest.mark.parametrize(("sampled", "used"), [(0.1, 0.1), (0.11, None), (0.2, None)])
def test_ppo_has_no_kl_limit_above_the_threshold(sampled: float, used: float | None) -> None:
    trial = FixedTrial({**PPO_DEFAULTS, "target_kl_or_none": sampled})
    assert sample_ppo_params(trial, size="full")["target_kl"] == used
    assert trial.user_attrs["target_kl"] == used


def test_ppo_minibatches_are_halved_where_updates_would_be_too_many() -> None:
    # 64 samples allow 20 updates: 10 epochs leave two minibatches, not four.
    trial = FixedTrial({**PPO_DEFAULTS, "n_steps_pow": 6, "n_minibatches_pow": 2, "n_epochs": 10})
    kwargs = sample_ppo_params(trial)
    assert (kwargs["batch_size"], kwargs["n_epochs"]) == (32, 10)
    assert trial.user_attrs["n_minibatches"] == 2
    assert trial.user_attrs["batch_size"] == 32
    full = sample_ppo_params(FixedTrial({**PPO_DEFAULTS, **trial.params}), size="full")
    assert (full["batch_size"], full["n_epochs"]) == (16, 10)  # 40 updates


def test_ppo_epochs_are_lowered_where_a_single_batch_is_still_too_much() -> None:
    # 8 samples allow 2 updates.
    trial = FixedTrial({**PPO_DEFAULTS, "n_steps_pow": 3, "n_minibatches_pow": 0, "n_epochs": 20})
    kwargs = sample_ppo_params(trial, context=SpaceContext(n_timesteps=80))
    assert (kwargs["n_steps"], kwargs["batch_size"], kwargs["n_epochs"]) == (8, 8, 2)
    assert trial.user_attrs["n_epochs"] == 2


@pytest.mark.parametrize(("n_steps", "batch_size"), [(100, 50), (101, 101), (250, 125)])
def test_ppo_takes_a_held_rollout_that_is_no_power_of_two(n_steps: int, batch_size: int) -> None:
    trial = HeldTrial({**PPO_DEFAULTS, "n_steps_pow": math.log2(n_steps)})
    kwargs = sample_ppo_params(trial)
    assert (kwargs["n_steps"], kwargs["batch_size"]) == (n_steps, batch_size)
    assert trial.user_attrs["n_steps"] == n_steps


def test_a2c_reaches_its_default_rollout() -> None:
    assert sample_a2c_params(FixedTrial(dict(A2C_DEFAULTS)))["n_steps"] == 5


@pytest.mark.parametrize("algo", ON_POLICY)
def test_dimensions_of_continuous_actions_are_absent_for_discrete_ones(algo: str) -> None:
    for point in draw(algo, make_context(algo, kind="discrete"), "full", 20):
        assert not {"use_sde", "sde_sample_freq", "use_expln", "log_std_init"} & set(point.params)
        assert "use_sde" not in point.kwargs


@pytest.mark.parametrize("algo", ["a2c", "ppo", "recurrent_ppo", "trpo"])
def test_sde_frequency_is_sampled_only_with_sde(algo: str) -> None:
    for point in draw(algo, make_context(algo), "full", 50):
        assert ("sde_sample_freq" in point.params) == point.params["use_sde"]
        assert ("use_expln" in point.params) == point.params["use_sde"]


@pytest.mark.parametrize(
    ("sample", "defaults", "n_steps_pow", "n_minibatches_pow", "passes", "kwargs"),
    [
        # At most 4 * 10 / 64 updates per step: 20 epochs of 64 minibatches of 32.
        (sample_ppo_params, PPO_DEFAULTS, 11, 6, 20, (2048, 32, 20)),
        (sample_ppo_params, PPO_DEFAULTS, 11, 8, 10, (2048, 16, 10)),
        # At most 4 * 10 / 128.
        (sample_recurrent_ppo_params, RECURRENT_DEFAULTS, 11, 6, 20, (2048, 64, 20)),
        (sample_trpo_params, TRPO_DEFAULTS, 11, 6, 20, (2048, 64, 20)),
    ],
)
def test_minibatches_of_the_full_space_are_bounded_by_the_updates(
    sample: Any,
    defaults: dict[str, Any],
    n_steps_pow: int,
    n_minibatches_pow: int,
    passes: int,
    kwargs: tuple[int, int, int],
) -> None:
    name = "n_critic_updates" if sample is sample_trpo_params else "n_epochs"
    point = {"n_steps_pow": n_steps_pow, "n_minibatches_pow": n_minibatches_pow, name: passes}
    context = SpaceContext(n_timesteps=1_000_000)
    sampled = sample(FixedTrial({**defaults, **point}), context=context, size="full")
    assert (sampled["n_steps"], sampled["batch_size"], sampled[name]) == kwargs


def test_small_trpo_keeps_the_default_batch() -> None:
    kwargs = sample_trpo_params(FixedTrial(dict(TRPO_DEFAULTS)), size="small")
    assert (kwargs["n_steps"], kwargs["batch_size"], kwargs["n_critic_updates"]) == (2048, 128, 10)


def test_maskable_ppo_has_nothing_for_continuous_actions() -> None:
    context = SpaceContext(action_space=BOX_ACTIONS)
    for point in draw("maskable_ppo", context, "full", 10):
        assert not {"use_sde", "log_std_init"} & set(point.params)


def test_recurrent_ppo_never_has_two_kinds_of_critic_memory() -> None:
    kinds = set()
    for point in draw("recurrent_ppo", make_context("recurrent_ppo"), "full", 60):
        policy_kwargs = point.kwargs["policy_kwargs"]
        own, shared = policy_kwargs["enable_critic_lstm"], policy_kwargs.get("shared_lstm", False)
        assert ("shared_lstm" in point.params) == (not own)
        kinds.add((own, shared))
    assert kinds == {(True, False), (False, True), (False, False)}


def test_images_can_do_without_hidden_layers() -> None:
    points = draw("ppo", make_context("ppo", kind="image"), "default", 60)
    assert [] in [point.attrs["net_arch"] for point in points]
    points = draw("ppo", make_context("ppo"), "default", 60)
    assert [] not in [point.attrs["net_arch"] for point in points]


@pytest.mark.parametrize(
    ("n_delta", "top_fraction", "n_top"),
    [(8, 1.0, 8), (8, 0.125, 1), (60, 20 / 60, 20), (40, 0.75, 30), (8, 0.01, 1), (7, 0.5, 4)],
)
def test_ars_follows_a_share_of_the_directions(
    n_delta: int, top_fraction: float, n_top: int
) -> None:
    point = {"learning_rate": 0.02, "delta_std": 0.05, "n_delta": n_delta}
    trial = FixedTrial({**point, "top_fraction": top_fraction})
    context = SpaceContext(n_timesteps=1_000_000, longest_episode=100)
    kwargs = sample_ars_params(trial, context=context, size="small")
    assert (kwargs["n_delta"], kwargs["n_top"]) == (n_delta, n_top)
    assert trial.user_attrs["n_top"] == n_top


@pytest.mark.parametrize(
    ("longest_episode", "n_envs", "most"), [(100, 1, 50), (100, 4, 12), (1, 1, 256), (None, 1, 5)]
)
def test_ars_population_fits_between_two_evaluations(
    longest_episode: int | None, n_envs: int, most: int
) -> None:
    context = SpaceContext(
        n_timesteps=100_000,
        n_envs=n_envs,
        longest_episode=longest_episode,
        action_space=DISCRETE_ACTIONS,
    )
    for point in draw("ars", context, "small", 5):
        assert point.distributions["n_delta"].high == most  # type: ignore[attr-defined]


def test_ars_with_a_single_direction_has_no_share_to_choose() -> None:
    context = SpaceContext(n_timesteps=10_000, longest_episode=1_000)
    for point in draw("ars", context, "small", 3):
        assert (point.kwargs["n_delta"], point.kwargs["n_top"]) == (1, 1)
        assert set(point.params) == {"learning_rate", "delta_std"}


def test_ars_linear_policy_is_the_one_of_the_paper() -> None:
    points = draw("ars", make_context("ars"), "default", 30)
    linear = [point.kwargs["policy_kwargs"] for point in points if point.attrs["net_arch"] == []]
    assert linear
    assert all(
        item == {"net_arch": [], "with_bias": False, "squash_output": False} for item in linear
    )


@pytest.mark.parametrize(("bonus", "offset"), [(0.003, 0.0), (0.0099, 0.0), (0.01, -0.01)])
def test_ars_takes_no_alive_bonus_back_below_the_threshold(bonus: float, offset: float) -> None:
    trial = FixedTrial({**ARS_DEFAULTS, "alive_bonus": bonus})
    context = SpaceContext(n_timesteps=1_000_000)
    assert sample_ars_params(trial, context=context, size="full")["alive_bonus_offset"] == offset
    assert trial.user_attrs["alive_bonus_offset"] == offset
