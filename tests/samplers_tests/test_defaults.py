"""The first trial of a study is SB3's default, expressed in the search space."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.trial import FixedTrial
from torch import nn

from samplers import SEARCH_SPACES, Size
from sb3_hpo.algorithms.registry import find_algorithm
from tests.samplers_tests.support import (
    ALGORITHMS,
    SIZES,
    constructor_defaults,
    draw,
    make_context,
)

ACTOR_CRITIC = {
    "net_arch": {"pi": [64, 64], "vf": [64, 64]},
    "activation_fn": nn.Tanh,
    "ortho_init": True,
    "log_std_init": 0.0,
}
SAC = {"net_arch": [256, 256], "activation_fn": nn.ReLU, "n_critics": 2}
DQN = {"net_arch": [64, 64], "activation_fn": nn.ReLU}
LSTM = {"lstm_hidden_size": 256, "n_lstm_layers": 1, "enable_critic_lstm": True}
POLICY_DEFAULTS: dict[str, dict[str, Any]] = {
    "a2c": ACTOR_CRITIC,
    "ars": {"net_arch": [64, 64]},
    "crossq": {
        "net_arch": {"pi": [256, 256], "qf": [1024, 1024]},
        "activation_fn": nn.ReLU,
        "batch_norm_momentum": 0.01,
        "renorm_warmup_steps": 100_000,
    },
    "ddpg": {"net_arch": [400, 300], "activation_fn": nn.ReLU},
    "dqn": DQN,
    "maskable_ppo": ACTOR_CRITIC,
    "ppo": ACTOR_CRITIC,
    "qrdqn": {**DQN, "n_quantiles": 200},
    "recurrent_ppo": {**ACTOR_CRITIC, **LSTM},
    "sac": SAC,
    "td3": {"net_arch": [400, 300], "activation_fn": nn.ReLU},
    "tqc": {**SAC, "n_quantiles": 25},
    "trpo": ACTOR_CRITIC,
}


@pytest.mark.parametrize("algo", ALGORITHMS)
@pytest.mark.parametrize("size", SIZES)
def test_default_params_give_the_constructor_defaults(algo: str, size: Size) -> None:
    space = SEARCH_SPACES[algo]
    trial = FixedTrial(dict(space.default_params))
    context = make_context(algo, n_timesteps=1_000_000)
    kwargs = space.sample(trial, context=context, size=size)
    policy_kwargs = kwargs.pop("policy_kwargs", {})

    defaults = constructor_defaults(algo)
    if algo == "ars":
        defaults["n_top"] = defaults["n_delta"]  # which is what None means
    assert kwargs == {name: defaults[name] for name in kwargs}
    expected = POLICY_DEFAULTS[algo]
    assert policy_kwargs == {name: expected[name] for name in policy_kwargs}


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_default_params_are_dimensions_of_the_full_space(algo: str) -> None:
    context = make_context(algo, n_timesteps=1_000_000)
    points = draw(algo, context, "full", 50)
    assert set(SEARCH_SPACES[algo].default_params) <= set().union(*(p.params for p in points))


@pytest.mark.parametrize("algo", ["dqn", "maskable_ppo", "ppo", "qrdqn", "recurrent_ppo"])
def test_first_points_lie_in_the_space_of_the_command_s_own_defaults(algo: str) -> None:
    """They are moved into narrower spaces, but where nothing is narrow they are as written."""
    algorithm = find_algorithm(algo)
    context = make_context(
        algo, n_envs=algorithm.n_envs, n_timesteps=algorithm.n_timesteps, kind="discrete"
    )
    dimensions = {
        name: item for point in draw(algo, context, "default", 64)
        for name, item in point.distributions.items()
    }  # fmt: skip
    assert SEARCH_SPACES[algo].first_points
    for point in SEARCH_SPACES[algo].first_points:
        for name, item in dimensions.items():
            assert item._contains(item.to_internal_repr(point[name])), name
