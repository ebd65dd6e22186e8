"""Replay buffers and updates from them, as all off-policy algorithms have them.

Ranges are those of RL Zoo's samplers, widened where its tuned configurations lie outside them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from samplers._shared import SpaceContext, floor_log2, is_at_least, max_rollout_steps, power_of_two

if TYPE_CHECKING:
    import gymnasium

    from samplers._shared import Size, TrialLike

MIN_ROLLOUT = 1
"""Smallest train_freq, in steps of the vectorised environment."""

_LARGEST_BUFFER = 1_000_000  # SB3's default
_SMALLEST_BUFFER = 10_000  # Zoo YAML
# For image observations: a million Atari transitions would take 56 GB.
_MAX_BUFFER_BYTES = 4 * 1024**3
_DEFAULT_LEARNING_STARTS = 100
_FEWEST_LEARNING_STARTS = 5
_NO_WARM_UP_BELOW = 10


@dataclass(frozen=True, kw_only=True)
class ReplayRanges:
    """Ranges in which the off-policy algorithms differ.

    Attributes:
        train_freq: SB3's default, used where it is not sampled.
        max_train_freq_pow: Exponent of the largest train_freq.
        update_to_data_pow: Lowest and highest exponent of updates per environment step.
        batch_size: SB3's default, used where it is not sampled.
        batch_size_pow: Lowest and highest exponent of the batch size; one more in the full space
            and with relabelled goals.
    """

    train_freq: int
    max_train_freq_pow: int
    update_to_data_pow: tuple[int, int]
    batch_size: int
    batch_size_pow: tuple[int, int]


REPLAY_DEFAULT_PARAMS: dict[str, float | int | str] = {
    "buffer_size": 1_000_000,
    "learning_starts": 100,
    "n_steps": 1,
}
"""SB3's defaults of the dimensions in which all algorithms agree."""


def sample_update_schedule(
    trial: TrialLike, *, context: SpaceContext, size: Size, ranges: ReplayRanges
) -> dict[str, int]:
    """Sample how often and how much the networks are updated.

    The ratio of updates to environment steps is sampled instead of gradient_steps, whose effect
    depends on train_freq and on the number of environments.

    Args:
        size: How much is searched.
        ranges: The ranges in which the algorithms differ.

    Returns:
        `train_freq` and `gradient_steps`.
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


def sample_replay(
    trial: TrialLike, *, context: SpaceContext, size: Size, ranges: ReplayRanges
) -> dict[str, Any]:
    """Sample the replay buffer, its warm-up and the batches drawn from it.

    Args:
        size: How much is searched.
        ranges: The ranges in which the algorithms differ.

    Returns:
        `buffer_size`, `learning_starts` and `batch_size`; with relabelled goals the buffer that
        does it, otherwise in the full space `n_steps`, where SB3 accepts n-step returns.
    """
    largest = _largest_buffer(context)
    smallest = min(largest, max(_SMALLEST_BUFFER, 2 * _first_episodes(context)))
    kwargs: dict[str, Any] = {}
    if is_at_least(size, "full") and largest > smallest:
        kwargs["buffer_size"] = trial.suggest_int("buffer_size", smallest, largest, log=True)
    elif context != SpaceContext():
        # Without a context nothing is known of the budget: SB3's own size is never too small.
        kwargs["buffer_size"] = largest
        trial.set_user_attr("buffer_size", largest)
    kwargs["learning_starts"] = _sample_learning_starts(trial, context, size)
    kwargs["batch_size"] = min(ranges.batch_size, smallest)
    if is_at_least(size, "default"):
        lowest, highest = ranges.batch_size_pow
        if is_at_least(size, "full") or context.her:
            highest += 1  # Zoo's tuned batches for relabelled goals have 2048 samples
        # A batch larger than the buffer would hold nothing but repetitions.
        highest = min(highest, floor_log2(smallest))
        batch_size = power_of_two(
            trial.suggest_int("batch_size_pow", min(lowest, highest), highest)
        )
        trial.set_user_attr("batch_size", batch_size)
        kwargs["batch_size"] = batch_size
    if context.her:
        kwargs |= _sample_her(trial, size)
    elif is_at_least(size, "full") and _allows_n_step_returns(context):
        kwargs["n_steps"] = trial.suggest_int("n_steps", 1, 5, step=2)  # Rainbow uses 3
    return kwargs


def _first_episodes(context: SpaceContext) -> int:
    """Return the steps after which each environment has ended an episode, or 0 without HER."""
    return (context.longest_episode or 0) * context.n_envs if context.her else 0


def _sample_learning_starts(trial: TrialLike, context: SpaceContext, size: Size) -> int:
    """Sample the warm-up; below ten steps there is none."""
    # Beyond a tenth of the budget, the warm-up would take the place of learning.
    latest = context.n_timesteps // 10
    if context.her:
        # SB3 can relabel only the goals of episodes that have ended.
        earliest = usual = _first_episodes(context)
    else:
        earliest, usual = _FEWEST_LEARNING_STARTS, min(_DEFAULT_LEARNING_STARTS, latest)
    if not is_at_least(size, "full") or latest <= earliest:
        return usual
    steps = trial.suggest_int("learning_starts", earliest, latest, log=True)
    learning_starts = 0 if steps < _NO_WARM_UP_BELOW and not context.her else steps
    trial.set_user_attr("learning_starts", learning_starts)
    return learning_starts


def _sample_her(trial: TrialLike, size: Size) -> dict[str, Any]:
    """Sample how many goals are relabelled, and with which."""
    from stable_baselines3 import HerReplayBuffer

    buffer_kwargs: dict[str, Any] = {}
    if is_at_least(size, "default"):
        buffer_kwargs["n_sampled_goal"] = trial.suggest_int("n_sampled_goal", 1, 8)  # Zoo: 1 to 5
    if is_at_least(size, "full"):
        buffer_kwargs["goal_selection_strategy"] = trial.suggest_categorical(
            "goal_selection_strategy", ["future", "final", "episode"]
        )
    return {"replay_buffer_class": HerReplayBuffer, "replay_buffer_kwargs": buffer_kwargs}


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
