from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import FixedTrial
from stable_baselines3.common.utils import LinearSchedule

from samplers import (
    SEARCH_SPACES,
    SpaceContext,
    sample_a2c_params,
    sample_ppo_params,
    sample_sac_params,
)
from samplers.schedules import CosineSchedule

if TYPE_CHECKING:
    from samplers import Size

A2C_DEFAULTS = SEARCH_SPACES["a2c"].default_params
PPO_DEFAULTS = SEARCH_SPACES["ppo"].default_params
SAC_DEFAULTS = SEARCH_SPACES["sac"].default_params


@pytest.mark.parametrize(
    ("remaining", "value"),
    [(1.0, 0.5), (0.75, 0.4267767), (0.5, 0.25), (0.25, 0.0732233), (0.0, 0.0), (-0.2, 0.0)],
)
def test_cosine_falls_to_zero_and_stays_there(remaining: float, value: float) -> None:
    assert CosineSchedule(0.5)(remaining) == pytest.approx(value, abs=1e-7)


def test_cosine_survives_pickling() -> None:
    assert pickle.loads(pickle.dumps(CosineSchedule(0.5))) == CosineSchedule(initial_value=0.5)


def test_linear_rate_is_sb3_s_own_schedule() -> None:
    params = {**SAC_DEFAULTS, "learning_rate_schedule": "linear", "learning_rate": 1e-3}
    context = SpaceContext(n_timesteps=1_000_000)
    schedule = sample_sac_params(FixedTrial(params), context=context, size="full")["learning_rate"]
    assert isinstance(schedule, LinearSchedule)
    assert (schedule.start, schedule.end, schedule.end_fraction) == (1e-3, 0.0, 1.0)


def test_schedules_of_rate_and_clip_range_are_independent() -> None:
    params = {**PPO_DEFAULTS, "learning_rate_schedule": "cosine", "clip_range_schedule": "linear"}
    kwargs = sample_ppo_params(FixedTrial(params), size="full")
    assert kwargs["learning_rate"] == CosineSchedule(3e-4)
    assert isinstance(kwargs["clip_range"], LinearSchedule)
    assert kwargs["clip_range"].start == 0.2


@pytest.mark.parametrize(
    ("sample", "params", "size", "names"),
    [
        (sample_ppo_params, PPO_DEFAULTS, "small", set()),
        (sample_ppo_params, PPO_DEFAULTS, "default", {"learning_rate_schedule"}),
        (sample_a2c_params, A2C_DEFAULTS, "default", {"learning_rate_schedule"}),
        (sample_sac_params, SAC_DEFAULTS, "default", set()),
        (sample_sac_params, SAC_DEFAULTS, "full", {"learning_rate_schedule"}),
    ],
)
def test_schedules_are_sampled_from_the_size_where_they_pay(
    sample: Any, params: dict[str, Any], size: Size, names: set[str]
) -> None:
    trial = FixedTrial(dict(params))
    kwargs = sample(trial, context=SpaceContext(n_timesteps=1_000_000), size=size)
    assert kwargs["learning_rate"] == params["learning_rate"]
    assert {name for name in trial.params if name.endswith("_schedule")} == names


@pytest.mark.parametrize(
    ("size", "kinds"),
    [("default", ("constant", "linear")), ("full", ("constant", "linear", "cosine"))],
)
def test_cosine_is_in_the_full_space_only(size: Size, kinds: tuple[str, ...]) -> None:
    trial = optuna.create_study().ask()
    sample_ppo_params(trial, size=size)
    (distribution,) = (d for n, d in trial.distributions.items() if n == "learning_rate_schedule")
    assert distribution == optuna.distributions.CategoricalDistribution(kinds)
