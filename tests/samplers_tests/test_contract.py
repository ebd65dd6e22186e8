"""What holds for every algorithm, every size and every number of environments."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial

from samplers import SEARCH_SPACES, Size, SpaceContext
from sb3_hpo.testing import check_search_space
from tests.samplers_tests.support import (
    ALGORITHMS,
    LONGEST_EPISODE,
    MOST_UPDATES,
    ON_POLICY,
    PROBLEMS,
    SIZES,
    draw,
    make_context,
    updates_per_step,
    vec_steps_per_rollout,
)

for_every_algorithm = pytest.mark.parametrize("algo", ALGORITHMS)
for_every_problem = pytest.mark.parametrize(("algo", "kind"), PROBLEMS)
for_every_size = pytest.mark.parametrize("size", SIZES)
for_n_envs = pytest.mark.parametrize("n_envs", [1, 8])


def comparable(value: Any) -> Any:
    # SB3's noise and schedule objects compare by identity.
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    name = type(value).__name__
    return repr(value) if "Noise" in name or "Schedule" in name else value


@for_every_problem
@for_every_size
@for_n_envs
def test_space_keeps_the_contract(algo: str, kind: str, size: Size, n_envs: int) -> None:
    context = make_context(algo, kind=kind, n_envs=n_envs)
    sample = partial(SEARCH_SPACES[algo].sample, size=size)
    check_search_space(sample, algo, context=context, n_points=25)


@for_every_problem
@for_every_size
def test_points_share_no_mutable_values(algo: str, kind: str, size: Size) -> None:
    """SB3 writes into the mappings it is given."""
    context = make_context(algo, kind=kind)
    first, second = (
        SEARCH_SPACES[algo].sample(FixedTrial(point.params), context=context, size=size)
        for point in 2 * draw(algo, context, size, 1)
    )
    for name in ("policy_kwargs", "replay_buffer_kwargs"):
        if name in first:
            first[name]["written"] = True
            assert "written" not in second[name]


@for_every_algorithm
@for_every_size
@pytest.mark.parametrize("n_envs", [1, 4, 5, 8, 16])
@pytest.mark.parametrize("n_timesteps", [2_560, 20_000, 1_000_000])
def test_rollout_and_updates_stay_affordable(
    algo: str, size: Size, n_envs: int, n_timesteps: int
) -> None:
    context = make_context(algo, n_envs=n_envs, n_timesteps=n_timesteps)
    for point in draw(algo, context, size, 15):
        rollout = vec_steps_per_rollout(algo, point.kwargs, LONGEST_EPISODE) * n_envs
        assert rollout <= n_timesteps // 10
        if algo != "ars":  # one update per iteration, however short
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
        kwargs = SEARCH_SPACES[algo].sample(trial, context=SpaceContext(), size=size)
        assert comparable(kwargs) == comparable(point.kwargs)


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


@pytest.mark.parametrize("name", ["n_envs", "n_timesteps", "n_evaluations", "longest_episode"])
def test_context_below_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, but got 0"):
        replace(SpaceContext(), **{name: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize("algo", [*ON_POLICY, "ars", "crossq"])
def test_hindsight_is_refused_where_it_is_impossible(algo: str) -> None:
    context = replace(make_context(algo), her=True, longest_episode=10)
    with pytest.raises(ValueError, match="cannot relabel goals in hindsight"):
        draw(algo, context, "default", 1)


def test_hindsight_without_the_longest_episode_is_refused() -> None:
    with pytest.raises(ValueError, match="her needs longest_episode"):
        SpaceContext(her=True)


def test_hindsight_with_a_budget_below_the_first_episodes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"but got 50 \* 4 >= 200"):
        SpaceContext(her=True, longest_episode=50, n_envs=4, n_timesteps=200)


@pytest.mark.parametrize(("algo", "kind"), PROBLEMS)
def test_declared_ranges_are_those_that_a_trial_is_asked_for(algo: str, kind: str) -> None:
    space = SEARCH_SPACES[algo]
    for size in SIZES:
        context = make_context(algo, kind=kind)
        asked: dict[str, Any] = {}
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for _ in range(64):
            trial = study.ask()
            space.sample(trial, context=context, size=size)
            asked |= trial.distributions
        assert space.distributions(context, size) == asked


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_every_dimension_says_where_its_range_comes_from_or_is_a_switch(algo: str) -> None:
    without = {item.name for item in SEARCH_SPACES[algo].dimensions if not item.source}
    assert without <= {
        "use_expln", "use_sde", "sde_sample_freq", "log_std_init", "goal_selection_strategy",
        "top_fraction", "n_lstm_layers", "enable_critic_lstm", "batch_norm_momentum",
    }  # fmt: skip
