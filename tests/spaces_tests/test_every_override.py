"""Every change of every dimension of every space arrives in the arguments, or is refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import FixedTrial

from samplers import SEARCH_SPACES
from sb3_hpo.algorithms.constructor import constructor_defaults
from sb3_hpo.algorithms.kwargs import serialize_kwargs
from sb3_hpo.config.study_config import make_config
from sb3_hpo.envs.problem import Problem
from sb3_hpo.spaces.bind import bind_space
from sb3_hpo.spaces.points import nearest_point
from sb3_hpo.utils.errors import UserError
from tests.support.envs import KnownReturnEnv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sb3_hpo.spaces.bound_space import BoundSpace

ALGORITHMS = sorted(SEARCH_SPACES)
LONG = {"n_timesteps": 400_000}  # so that SB3's rollouts fit between two evaluations
SCHEDULES = ("learning_rate_schedule", "clip_range_schedule")


def bind(algo: str, **values: Any) -> BoundSpace:
    env = KnownReturnEnv("discrete" if algo in ("dqn", "maskable_ppo", "qrdqn") else "box")
    name = "tests.support.envs:KnownReturnEnv"
    config = make_config({"algo": algo, "env": name, "space_size": "full", **LONG, **values})
    return bind_space(config, Problem(env.observation_space, env.action_space, 100))


def points(space: BoundSpace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each dimension with a point that has it, and nothing that falls over a run."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=5))
    missing = set(space.dimensions)
    while missing:
        trial = study.ask()
        space.sample(trial)
        constant = all(trial.params.get(name, "constant") == "constant" for name in SCHEDULES)
        for name in sorted(missing & trial.params.keys()):
            if constant or name in SCHEDULES:
                missing.remove(name)
                yield name, trial.params


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def described(space: BoundSpace, params: dict[str, Any]) -> Any:
    return serialize_kwargs(space.sample(FixedTrial(params)))


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_fixed_value_is_what_is_sampled_there(algo: str) -> None:
    plain = bind(algo)
    for name, params in points(plain):
        expected = described(plain, params)
        value = params[name]
        if name in expected and is_number(value):
            expected[name] = value  # the user's own number, which the space may round
        space = bind(algo, fixed={name: value})
        assert name not in space.dimensions
        rest = {other: item for other, item in params.items() if other in space.dimensions}
        assert described(space, rest) == expected, (name, params)


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_choice_is_what_is_sampled_there(algo: str) -> None:
    plain = bind(algo)
    for name, params in points(plain):
        expected = described(plain, params)
        if name in expected and is_number(params[name]):
            expected[name] = params[name]
        space = bind(algo, choices={name: [params[name]]})
        assert space.dimensions[name] == CategoricalDistribution([params[name]])
        assert described(space, params) == expected, (name, params)


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_range_is_asked_for_and_what_is_sampled_there_stays(algo: str) -> None:
    plain = bind(algo)
    for name, params in points(plain):
        asked: Any = plain.dimensions[name]
        if isinstance(asked, CategoricalDistribution):
            with pytest.raises(UserError, match=rf"^range.{name}: is one of \[.*: use choices"):
                bind(algo, range={name: [0, 1]})
            continue
        value = params[name]
        low, high = (value, asked.high) if value < asked.high else (asked.low, value)
        space = bind(algo, range={name: [low, high]})
        new: Any = space.dimensions[name]
        assert (new.low, new.high, new.log, new.step) == (low, high, asked.log, asked.step)
        assert described(space, params) == described(plain, params), (name, params)


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_dropped_dimension_is_left_to_sb3_or_refused(algo: str) -> None:
    plain, defaults = bind(algo), constructor_defaults(algo)
    for name, params in points(plain):
        try:
            space = bind(algo, drop=[name])
        except UserError as error:
            refused = str(error)
            assert refused.startswith(f"drop.{name}: has no default of SB3's")
            continue
        assert name not in space.dimensions
        item = plain.declared[name]
        kwargs = described(
            space, {**space.default_params, **nearest_point(params, space.dimensions)}
        )
        if not item.together:
            outer, _, inner = item.decides.partition(".")
            assert (inner or outer) not in (kwargs.get(outer, {}) if inner else kwargs)
            assert not inner or outer == "policy_kwargs"
            assert inner or outer in defaults


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_value_under_sb3_s_name_is_exact(algo: str) -> None:
    plain = bind(algo)
    for name, params in points(plain):
        item = plain.declared[name]
        if item.together or item.decides == name or "." in item.decides:
            continue
        value = described(plain, params).get(item.decides)
        if isinstance(value, int | float) and math.isfinite(value):
            space = bind(algo, fixed={item.decides: value})
            rest = {other: drawn for other, drawn in params.items() if other in space.dimensions}
            assert described(space, rest)[item.decides] == value, (name, params)
