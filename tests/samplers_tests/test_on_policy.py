from __future__ import annotations

import math
from typing import Any

import pytest
from optuna.trial import FixedTrial

from samplers import SpaceContext, sample_a2c_params, sample_ppo_params
from samplers.a2c import DEFAULT_PARAMS as A2C_DEFAULTS
from samplers.ppo import DEFAULT_PARAMS as PPO_DEFAULTS
from tests.samplers_tests.support import draw, make_context


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


@pytest.mark.parametrize("n_envs", [1, 4, 5, 8, 16])
@pytest.mark.parametrize("n_timesteps", [1_280, 3_000, 1_000_000])
def test_ppo_batches_divide_the_rollout_and_are_not_tiny(n_envs: int, n_timesteps: int) -> None:
    context = make_context("ppo", n_envs=n_envs, n_timesteps=n_timesteps)
    for point in draw("ppo", context, "default", 40):
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


@pytest.mark.parametrize("algo", ["a2c", "ppo"])
def test_dimensions_of_continuous_actions_are_absent_for_discrete_ones(algo: str) -> None:
    for point in draw(algo, make_context(algo, discrete=True), "full", 20):
        assert not {"use_sde", "sde_sample_freq", "log_std_init"} & set(point.params)
        assert "use_sde" not in point.kwargs


@pytest.mark.parametrize("algo", ["a2c", "ppo"])
def test_sde_frequency_is_sampled_only_with_sde(algo: str) -> None:
    for point in draw(algo, make_context(algo), "full", 50):
        assert ("sde_sample_freq" in point.params) == point.params["use_sde"]
