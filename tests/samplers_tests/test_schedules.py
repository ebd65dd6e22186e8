from __future__ import annotations

import pickle

import pytest
from optuna.trial import FixedTrial
from stable_baselines3.common.utils import LinearSchedule

from samplers import SpaceContext, sample_ppo_params, sample_sac_params
from samplers.ppo import DEFAULT_PARAMS as PPO_DEFAULTS
from samplers.sac import DEFAULT_PARAMS as SAC_DEFAULTS
from samplers.schedules import CosineSchedule


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


def test_schedules_are_sampled_in_the_full_space_only() -> None:
    trial = FixedTrial(dict(PPO_DEFAULTS))
    kwargs = sample_ppo_params(trial, size="default")
    assert (kwargs["learning_rate"], kwargs["clip_range"]) == (3e-4, 0.2)
    assert not {name for name in trial.params if name.endswith("_schedule")}
