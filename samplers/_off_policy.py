"""What the off-policy spaces (DQN, SAC, TD3, DDPG) share.

Ranges are those of RL Zoo's samplers, widened where its tuned configurations lie outside them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from samplers._shared import (
    box_action_shape,
    floor_log2,
    is_at_least,
    max_rollout_steps,
    power_of_two,
    sample_activation_fn,
    sample_gamma,
    sample_net_arch,
)

if TYPE_CHECKING:
    import gymnasium
    from stable_baselines3.common.noise import ActionNoise

    from samplers._shared import Size, SpaceContext, TrialLike

MIN_ROLLOUT = 1
"""Smallest train_freq, in steps of the vectorised environment."""

_NET_ARCHS = {"small": [64, 64], "medium": [256, 256], "big": [400, 300]}  # Zoo
_LARGEST_BUFFER = 1_000_000  # SB3's default
_SMALLEST_BUFFER = 10_000  # Zoo YAML
# For image observations: a million Atari transitions would take 56 GB.
_MAX_BUFFER_BYTES = 4 * 1024**3
_DEFAULT_LEARNING_STARTS = 100


@dataclass(frozen=True, kw_only=True)
class ReplayRanges:
    """Ranges in which the off-policy algorithms differ.

    Attributes:
        train_freq: SB3's default, used where it is not sampled.
        max_train_freq_pow: Exponent of the largest train_freq.
        update_to_data_pow: Lowest and highest exponent of updates per environment step.
        batch_size: SB3's default, used where it is not sampled.
        batch_size_pow: Lowest and highest exponent of the batch size.
    """

    train_freq: int
    max_train_freq_pow: int
    update_to_data_pow: tuple[int, int]
    batch_size: int
    batch_size_pow: tuple[int, int]


# Zoo YAML has train_freq 32 and 64 and batches of 64 to 512. Four updates per environment step
# is four times SB3's default.
CONTINUOUS_RANGES = ReplayRanges(
    train_freq=1,
    max_train_freq_pow=6,
    update_to_data_pow=(-2, 2),
    batch_size=256,
    batch_size_pow=(5, 10),
)

REPLAY_DEFAULT_PARAMS: dict[str, float | int | str] = {
    "one_minus_gamma": 0.01,
    "buffer_size": 1_000_000,
    "learning_starts": 100,
    "n_steps": 1,
    "activation_fn": "relu",
}
"""SB3's defaults of the dimensions in which all off-policy algorithms agree."""

CONTINUOUS_DEFAULT_PARAMS: dict[str, float | int | str] = {
    **REPLAY_DEFAULT_PARAMS,
    "train_freq_pow": 0,
    "update_to_data_pow": 0,
    "batch_size_pow": 8,
    "tau": 0.005,
}
"""SB3's defaults of the dimensions in which SAC, TD3 and DDPG agree."""


def sample_off_policy_params(
    trial: TrialLike, *, context: SpaceContext, size: Size, ranges: ReplayRanges
) -> dict[str, Any]:
    """Sample the keyword arguments that all off-policy algorithms have in common.

    Args:
        trial: The Optuna trial.
        context: The problem.
        size: How much is searched.
        ranges: The ranges in which the algorithms differ.

    Returns:
        Constructor keyword arguments, with `policy_kwargs` unless the size is "small".
    """
    # Zoo's lowest gamma is 0.97; its tuned configurations use 0.95.
    kwargs: dict[str, Any] = {"gamma": sample_gamma(trial, highest=0.1)}
    kwargs |= _sample_update_schedule(trial, context, size, ranges)
    kwargs |= _sample_replay(trial, context, size, ranges)
    policy_kwargs: dict[str, Any] = {}
    if is_at_least(size, "default"):
        policy_kwargs["net_arch"] = sample_net_arch(trial, _NET_ARCHS)
    if is_at_least(size, "full"):
        policy_kwargs["activation_fn"] = sample_activation_fn(trial)
        if _allows_n_step_returns(context):
            kwargs["n_steps"] = trial.suggest_int("n_steps", 1, 5, step=2)  # Rainbow uses 3
    if policy_kwargs:
        kwargs["policy_kwargs"] = policy_kwargs
    return kwargs


def sample_tau(trial: TrialLike) -> float:
    """Sample the speed of the target network (Zoo's range)."""
    return trial.suggest_float("tau", 1e-3, 0.08, log=True)


def sample_deterministic_actor_params(
    trial: TrialLike, *, context: SpaceContext, size: Size
) -> dict[str, Any]:
    """Sample the keyword arguments that TD3 and DDPG have in common.

    Args:
        trial: The Optuna trial.
        context: The problem.
        size: How much is searched.

    Returns:
        Constructor keyword arguments.
    """
    # Zoo YAML has 7e-4 and 1e-3; far higher rates end in NaN weights without an error.
    kwargs: dict[str, Any] = {
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True)
    }
    if is_at_least(size, "default"):
        kwargs["tau"] = sample_tau(trial)
    shape = box_action_shape(context)
    if shape is not None:
        kwargs["action_noise"] = _sample_action_noise(trial, shape)
    return kwargs | sample_off_policy_params(
        trial, context=context, size=size, ranges=CONTINUOUS_RANGES
    )


def _sample_update_schedule(
    trial: TrialLike, context: SpaceContext, size: Size, ranges: ReplayRanges
) -> dict[str, int]:
    """Sample how often and how much the networks are updated.

    The ratio of updates to environment steps is sampled instead of gradient_steps, whose effect
    depends on train_freq and on the number of environments.
    """
    longest = max_rollout_steps(context, minimum=MIN_ROLLOUT)
    train_freq = min(ranges.train_freq, longest)
    if is_at_least(size, "default"):
        max_pow = min(ranges.max_train_freq_pow, floor_log2(longest))
        train_freq = power_of_two(trial.suggest_int("train_freq_pow", 0, max_pow))
    lowest, highest = ranges.update_to_data_pow
    if not is_at_least(size, "full"):
        highest -= 1  # twice SB3's default at most: time is trials
    updates_per_vec_step = (
        2.0 ** trial.suggest_int("update_to_data_pow", lowest, highest) * context.n_envs
    )
    # A rollout too short for one whole update is prolonged: one update every eight steps rather
    # than one per step. The tolerance is for ratios that are not powers of two.
    steps_per_update = math.ceil(1 / updates_per_vec_step - 1e-9)
    train_freq = max(train_freq, min(steps_per_update, longest))
    gradient_steps = max(1, math.floor(train_freq * updates_per_vec_step + 1e-9))

    trial.set_user_attr("train_freq", train_freq)
    trial.set_user_attr("gradient_steps", gradient_steps)
    trial.set_user_attr("update_to_data", gradient_steps / (train_freq * context.n_envs))
    return {"train_freq": train_freq, "gradient_steps": gradient_steps}


def _sample_replay(
    trial: TrialLike, context: SpaceContext, size: Size, ranges: ReplayRanges
) -> dict[str, int]:
    """Sample the replay buffer, its warm-up and the batches drawn from it."""
    buffer_size = _largest_buffer(context)
    smallest_buffer = min(_SMALLEST_BUFFER, buffer_size)
    # Beyond a tenth of the budget, the warm-up would take the place of learning.
    latest_start = (context.n_timesteps - 1) // 10
    learning_starts = min(_DEFAULT_LEARNING_STARTS, latest_start)
    batch_size = min(ranges.batch_size, buffer_size)
    if is_at_least(size, "default"):
        # A batch larger than the buffer would hold nothing but repetitions.
        highest = min(ranges.batch_size_pow[1], floor_log2(smallest_buffer))
        lowest = min(ranges.batch_size_pow[0], highest)
        batch_size = power_of_two(trial.suggest_int("batch_size_pow", lowest, highest))
        trial.set_user_attr("batch_size", batch_size)
    if is_at_least(size, "full"):
        if buffer_size > smallest_buffer:
            buffer_size = trial.suggest_int("buffer_size", smallest_buffer, buffer_size, log=True)
        if latest_start > learning_starts:
            learning_starts = trial.suggest_int(
                "learning_starts", learning_starts, latest_start, log=True
            )
    return {
        "buffer_size": buffer_size,
        "learning_starts": learning_starts,
        "batch_size": batch_size,
    }


def _largest_buffer(context: SpaceContext) -> int:
    """Return the largest useful buffer: the budget, SB3's default, or what memory permits."""
    largest = min(_LARGEST_BUFFER, context.n_timesteps)
    if context.observation_space is None:
        return largest
    # SB3 keeps each observation twice, as the old and as the new one.
    transition_bytes = 2 * _observation_bytes(context.observation_space)
    return max(1, min(largest, _MAX_BUFFER_BYTES // transition_bytes))


def _observation_bytes(space: gymnasium.Space[Any]) -> int:
    """Return the memory of one stored observation, or 8 for spaces without shape."""
    from gymnasium.spaces import Dict

    if isinstance(space, Dict):
        return sum(_observation_bytes(part) for part in space.spaces.values())
    item_bytes = 8 if space.dtype is None else space.dtype.itemsize
    return max(1, math.prod(space.shape or ()) * item_bytes)


def _allows_n_step_returns(context: SpaceContext) -> bool:
    """Tell whether SB3's n-step buffer is known to accept the observations (no Dict)."""
    from gymnasium.spaces import Dict

    space = context.observation_space
    return space is not None and not context.goal_env and not isinstance(space, Dict)


def _sample_action_noise(trial: TrialLike, shape: tuple[int, ...]) -> ActionNoise | None:
    """Sample SB3's action noise object of the shape of the actions, or None."""
    import numpy as np
    from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise

    noise_type: str = trial.suggest_categorical("noise_type", ["none", "normal", "ou"])
    if noise_type == "none":
        return None
    # Zoo's 0 to 0.5; actions are scaled to [-1, 1] where SB3 adds the noise.
    noise_std = trial.suggest_float("noise_std", 0.01, 0.5, log=True)
    mean, sigma = np.zeros(shape), np.full(shape, noise_std)
    if noise_type == "ou":
        return OrnsteinUhlenbeckActionNoise(mean=mean, sigma=sigma)
    return NormalActionNoise(mean=mean, sigma=sigma)
