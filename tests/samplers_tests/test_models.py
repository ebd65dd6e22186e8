"""Points of the spaces become models: without complaint, and with the values asked for."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
from optuna.trial import FixedTrial
from stable_baselines3.common.env_util import make_vec_env

from samplers import SEARCH_SPACES, Size
from tests.samplers_tests.arrivals import ARRIVALS, Arrival
from tests.samplers_tests.support import (
    ALGORITHMS,
    SIZES,
    algorithm_class,
    draw,
    make_context,
)

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

# Box and Discrete actions for the algorithms that take both.
PROBLEMS = [(algo, algo == "dqn") for algo in ALGORITHMS] + [("a2c", True), ("ppo", True)]


@functools.cache
def vec_env(discrete: bool, n_envs: int) -> VecEnv:
    return make_vec_env("CartPole-v1" if discrete else "Pendulum-v1", n_envs=n_envs)


def build(algo: str, kwargs: dict[str, Any], *, discrete: bool, n_envs: int = 1) -> Any:
    env = vec_env(discrete, n_envs)
    return algorithm_class(algo)("MlpPolicy", env, device="cpu", seed=0, **kwargs)


def build_random_points(algo: str, size: Size, discrete: bool, n_points: int) -> list[float]:
    """Build models at random points, where warnings are errors; return their discounts."""
    gammas = []
    for seed, n_envs in enumerate((1, 4, 8)):
        context = make_context(algo, n_envs=n_envs, discrete=discrete)
        for point in draw(algo, context, size, n_points, seed):
            model = build(algo, point.kwargs, discrete=discrete, n_envs=n_envs)
            assert model.gamma == point.kwargs["gamma"]
            gammas.append(model.gamma)
    return gammas


@pytest.mark.parametrize(("algo", "discrete"), PROBLEMS)
@pytest.mark.parametrize("size", SIZES)
def test_some_random_points_are_valid(algo: str, discrete: bool, size: Size) -> None:
    assert len(set(build_random_points(algo, size, discrete, n_points=4))) == 12


@pytest.mark.slow
@pytest.mark.parametrize(("algo", "discrete"), PROBLEMS)
@pytest.mark.parametrize("size", SIZES)
def test_many_random_points_are_valid(algo: str, discrete: bool, size: Size) -> None:
    assert len(set(build_random_points(algo, size, discrete, n_points=167))) == 501


@pytest.mark.parametrize(("algo", "discrete"), PROBLEMS)
def test_random_points_learn(algo: str, discrete: bool) -> None:
    context = make_context(algo, n_envs=4, n_timesteps=320, discrete=discrete)
    for point in draw(algo, context, "full", 2):
        model = build(algo, point.kwargs, discrete=discrete, n_envs=4)
        model.learn(36)
        assert model._n_updates > 0


@pytest.mark.parametrize(
    ("algo", "arrival"),
    [
        pytest.param(algo, arrival, id=f"{algo}-{arrival.dimension}")
        for algo, arrivals in ARRIVALS.items()
        for arrival in arrivals
    ],
)
def test_value_arrives_in_the_model(algo: str, arrival: Arrival) -> None:
    space = SEARCH_SPACES[algo]
    base = {**space.default_params, "buffer_size": 54_321}
    assert arrival.value != base.get(arrival.dimension)
    params = {**base, **arrival.given, arrival.dimension: arrival.value}
    context = make_context(algo, n_timesteps=100_000)
    kwargs = space.sample(FixedTrial(params), context=context, size="full")
    model = build(algo, kwargs, discrete=algo == "dqn")
    assert arrival.read(model) == arrival.expected


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_arrival_of_every_dimension_is_tested(algo: str) -> None:
    context = make_context(algo, n_timesteps=100_000)
    sampled = set().union(*(point.params for point in draw(algo, context, "full", 100)))
    assert {arrival.dimension for arrival in ARRIVALS[algo]} == sampled
