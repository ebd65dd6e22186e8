"""Points that an earlier version has drawn replay to the arguments that they had."""

from __future__ import annotations

import hashlib
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Space
from optuna.trial import FixedTrial

from samplers import SEARCH_SPACES, SpaceContext
from sb3_hpo.algorithms.kwargs import serialize_kwargs

GOALS: dict[str, Space[Any]] = {
    name: Box(-1.0, 1.0, (3,)) for name in ("observation", "achieved_goal", "desired_goal")
}
PROBLEMS: dict[str, SpaceContext | None] = {
    "unknown": None,
    "cartpole": SpaceContext(
        n_envs=8, n_timesteps=50_000, action_space=Discrete(2),
        observation_space=Box(-5.0, 5.0, (4,)), longest_episode=500,
    ),
    "pendulum": SpaceContext(
        n_envs=4, n_timesteps=20_000, n_evaluations=8, action_space=Box(-2.0, 2.0, (1,)),
        observation_space=Box(-8.0, 8.0, (3,)), longest_episode=200,
    ),
    "atari": SpaceContext(
        n_timesteps=1_000_000, action_space=Discrete(6),
        observation_space=Box(0, 255, (84, 84, 4), np.uint8),
    ),
    "reach": SpaceContext(
        n_envs=2, n_timesteps=100_000, action_space=Box(-1.0, 1.0, (4,)),
        observation_space=Dict(GOALS), goal_env=True, her=True, longest_episode=50,
    ),
}  # fmt: skip
DRAWS: dict[str, Any] = json.loads(
    lzma.decompress((Path(__file__).parents[1] / "golden/draws.json.xz").read_bytes())
)


def digest(kwargs: dict[str, Any], attrs: dict[str, Any]) -> str:
    plain = json.dumps([serialize_kwargs(kwargs), attrs], sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()[:8]


def test_there_are_draws_of_every_space() -> None:
    keys = [key.split("/") for key in DRAWS]
    assert {(algo, size) for algo, size, _ in keys} == {
        (algo, size) for algo in SEARCH_SPACES for size in ("small", "default", "full")
    }
    assert {problem for *_, problem in keys} == set(PROBLEMS)
    assert all(len(item["points"]) == 200 for item in DRAWS.values())


@pytest.mark.parametrize("key", DRAWS)
def test_draw_replays_to_the_arguments_that_it_had(key: str) -> None:
    algo, size, problem = key.split("/")
    changed = []
    for values, before in zip(DRAWS[key]["points"], DRAWS[key]["digests"], strict=True):
        named = zip(DRAWS[key]["names"], values, strict=True)
        params = {name: value for name, value in named if value is not None}
        trial = FixedTrial(params)
        kwargs = SEARCH_SPACES[algo].sample(
            trial,
            context=PROBLEMS[problem],
            size=size,  # type: ignore[arg-type]
        )
        assert list(trial.params) == list(params)  # nothing else is asked for, in this order
        if digest(kwargs, trial.user_attrs) != before:
            changed.append(params)
    assert changed == []


@pytest.mark.parametrize("key", DRAWS)
def test_arguments_are_found_again(key: str) -> None:
    algo, size, problem = key.split("/")
    space, context = SEARCH_SPACES[algo], PROBLEMS[problem]
    names = DRAWS[key]["names"]
    lost = []
    for values in DRAWS[key]["points"][:12]:
        params = {
            name: value for name, value in zip(names, values, strict=True) if value is not None
        }
        kwargs = space.sample(FixedTrial(params), context=context, size=size)  # type: ignore[arg-type]
        found = space.params_of(kwargs, context=context, size=size)  # type: ignore[arg-type]
        again = space.sample(FixedTrial(found), context=context, size=size)  # type: ignore[arg-type]
        if serialize_kwargs(again) != serialize_kwargs(kwargs):
            lost.append((params, found))
    assert lost == []


@pytest.mark.parametrize("algo", SEARCH_SPACES)
def test_nonsense_is_left_to_the_sampler(algo: str) -> None:
    names = {item.decides for item in SEARCH_SPACES[algo].dimensions}
    names |= {"batch_size", "train_freq", "gradient_steps", "n_top", "ent_coef", "target_entropy"}
    several: tuple[Any, ...] = ("abc", [], float("nan"), (1, "episode"), {"pi": []}, True)
    for nonsense in several:
        params = SEARCH_SPACES[algo].params_of(dict.fromkeys(names, nonsense))
        ranges = SEARCH_SPACES[algo].distributions(SpaceContext(), "full")
        for name, value in params.items():
            assert ranges[name]._contains(ranges[name].to_internal_repr(value)), (name, nonsense)
