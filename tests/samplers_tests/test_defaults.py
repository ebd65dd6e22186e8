"""The first trial of a study is SB3's default, expressed in the search space."""

from __future__ import annotations

import pytest
from optuna.trial import FixedTrial
from torch import nn

from samplers import SEARCH_SPACES, Size
from sb3_hpo.algorithms import find_algorithm
from tests.samplers_tests.support import (
    ALGORITHMS,
    SIZES,
    constructor_defaults,
    draw,
    make_context,
)

POLICY_DEFAULTS = {
    "a2c": {
        "net_arch": {"pi": [64, 64], "vf": [64, 64]},
        "activation_fn": nn.Tanh,
        "ortho_init": True,
        "log_std_init": 0.0,
    },
    "ddpg": {"net_arch": [400, 300], "activation_fn": nn.ReLU},
    "dqn": {"net_arch": [64, 64], "activation_fn": nn.ReLU},
    "sac": {"net_arch": [256, 256], "activation_fn": nn.ReLU, "n_critics": 2},
    "td3": {"net_arch": [400, 300], "activation_fn": nn.ReLU},
}
POLICY_DEFAULTS["ppo"] = POLICY_DEFAULTS["a2c"]


@pytest.mark.parametrize("algo", ALGORITHMS)
@pytest.mark.parametrize("size", SIZES)
def test_default_params_give_the_constructor_defaults(algo: str, size: Size) -> None:
    space = SEARCH_SPACES[algo]
    trial = FixedTrial(dict(space.default_params))
    context = make_context(algo, n_timesteps=1_000_000)
    kwargs = space.sample(trial, context=context, size=size)
    policy_kwargs = kwargs.pop("policy_kwargs", {})

    defaults = constructor_defaults(algo)
    assert kwargs == {name: defaults[name] for name in kwargs}
    expected = POLICY_DEFAULTS[algo]
    assert policy_kwargs == {name: expected[name] for name in policy_kwargs}


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_default_params_are_dimensions_of_the_full_space(algo: str) -> None:
    context = make_context(algo, n_timesteps=1_000_000)
    points = draw(algo, context, "full", 50)
    assert set(SEARCH_SPACES[algo].default_params) <= set().union(*(p.params for p in points))


@pytest.mark.parametrize("algo", ["dqn", "ppo"])
def test_first_points_lie_in_the_space_of_the_command_s_own_defaults(algo: str) -> None:
    """They are moved into narrower spaces, but where nothing is narrow they are as written."""
    algorithm = find_algorithm(algo)
    context = make_context(
        algo, n_envs=algorithm.n_envs, n_timesteps=algorithm.n_timesteps, discrete=True
    )
    dimensions = {
        name: item for point in draw(algo, context, "default", 64)
        for name, item in point.distributions.items()
    }  # fmt: skip
    assert SEARCH_SPACES[algo].first_points
    for point in SEARCH_SPACES[algo].first_points:
        for name, item in dimensions.items():
            assert item._contains(item.to_internal_repr(point[name])), name
