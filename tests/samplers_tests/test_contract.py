"""What holds for every algorithm, every size and every number of environments."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from optuna.trial import FixedTrial

from samplers import SEARCH_SPACES, Size, SpaceContext
from tests.samplers_tests.support import (
    ALGORITHMS,
    SIZES,
    constructor_defaults,
    draw,
    make_context,
    updates_per_step,
    vec_steps_per_rollout,
)

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

for_every_algorithm = pytest.mark.parametrize("algo", ALGORITHMS)
for_every_size = pytest.mark.parametrize("size", SIZES)
for_n_envs = pytest.mark.parametrize("n_envs", [1, 4, 8])
# Four times the updates per environment step of SB3's defaults at one environment.
MOST_UPDATES = {"a2c": 0.8, "ddpg": 4, "dqn": 1, "ppo": 0.625, "sac": 4, "td3": 4}


def comparable(value: Any) -> Any:
    # SB3's noise objects compare by identity.
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    return repr(value) if "Noise" in type(value).__name__ else value


@for_every_algorithm
@for_every_size
@for_n_envs
def test_returned_names_are_constructor_parameters(algo: str, size: Size, n_envs: int) -> None:
    known = set(constructor_defaults(algo))
    for point in draw(algo, make_context(algo, n_envs=n_envs), size, 20):
        assert set(point.kwargs) <= known


@for_every_algorithm
@for_every_size
@for_n_envs
def test_replay_of_params_gives_equal_kwargs(algo: str, size: Size, n_envs: int) -> None:
    context = make_context(algo, n_envs=n_envs)
    for point in draw(algo, context, size, 15):
        trial = FixedTrial(point.params)
        replayed = SEARCH_SPACES[algo].sample(trial, context=context, size=size)
        assert comparable(replayed) == comparable(point.kwargs)
        assert trial.user_attrs == point.attrs


@for_every_algorithm
@for_every_size
@for_n_envs
def test_bounds_do_not_depend_on_sampled_values(algo: str, size: Size, n_envs: int) -> None:
    seen: dict[str, BaseDistribution] = {}
    for point in draw(algo, make_context(algo, n_envs=n_envs), size, 200):
        for name, distribution in point.distributions.items():
            assert seen.setdefault(name, distribution) == distribution


@for_every_algorithm
@for_every_size
@pytest.mark.parametrize("n_envs", [1, 4, 5, 8, 16])
@pytest.mark.parametrize("n_timesteps", [1_280, 20_000, 1_000_000])
def test_rollout_and_updates_stay_affordable(
    algo: str, size: Size, n_envs: int, n_timesteps: int
) -> None:
    context = make_context(algo, n_envs=n_envs, n_timesteps=n_timesteps)
    for point in draw(algo, context, size, 15):
        rollout = vec_steps_per_rollout(algo, point.kwargs) * n_envs
        assert rollout <= n_timesteps // 10
        assert updates_per_step(algo, point.kwargs, n_envs) <= MOST_UPDATES[algo]


@for_every_algorithm
def test_smallest_rollout_is_sampled_where_the_budget_leaves_no_choice(algo: str) -> None:
    smallest = SEARCH_SPACES[algo].min_rollout
    context = make_context(algo, n_envs=8, n_timesteps=10 * 8 * smallest)
    for point in draw(algo, context, "full", 20):
        assert vec_steps_per_rollout(algo, point.kwargs) == smallest


@for_every_algorithm
def test_budget_below_the_smallest_rollout_is_refused(algo: str) -> None:
    smallest = SEARCH_SPACES[algo].min_rollout
    context = make_context(algo, n_envs=8, n_timesteps=10 * 8 * smallest - 1)
    with pytest.raises(ValueError, match=f"n_evaluations >= {smallest} \\* n_envs must hold"):
        draw(algo, context, "default", 1)


@for_every_algorithm
@for_every_size
def test_trial_alone_is_the_same_as_the_default_context(algo: str, size: Size) -> None:
    for point in draw(algo, None, size, 10):
        trial = FixedTrial(point.params)
        assert SEARCH_SPACES[algo].sample(trial, context=SpaceContext(), size=size) == (
            point.kwargs
        )


@for_every_algorithm
def test_sizes_are_nested(algo: str) -> None:
    names = {
        size: set().union(*(point.params for point in draw(algo, make_context(algo), size, 50)))
        for size in SIZES
    }
    assert names["small"] < names["default"] < names["full"]


@for_every_algorithm
def test_small_space_has_at_most_five_dimensions(algo: str) -> None:
    assert all(len(point.params) <= 5 for point in draw(algo, make_context(algo), "small", 50))


@for_every_algorithm
def test_unknown_size_is_refused(algo: str) -> None:
    with pytest.raises(ValueError, match="one of small, default, full, but got 'huge'"):
        draw(algo, make_context(algo), "huge", 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["n_envs", "n_timesteps", "n_evaluations"])
def test_context_below_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, but got 0"):
        replace(SpaceContext(), **{name: 0})  # type: ignore[arg-type]
