"""Replay buffers and updates from them, as all off-policy algorithms have them.

Ranges are those of RL Zoo's samplers, widened where its tuned configurations lie outside them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from samplers._dimensions import Choice, Int, PowerOfTwo, is_number
from samplers._shared import SpaceContext, floor_log2, is_at_least, max_rollout_steps
from samplers._space import Finish

if TYPE_CHECKING:
    import gymnasium

    from samplers._dimensions import Dimension
    from samplers._shared import Size
    from samplers._space import Values

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
class Replay(Finish):
    """How often and from what the networks are updated, where off-policy algorithms differ.

    Attributes:
        train_freq_pow: Exponent of SB3's train_freq, used where it is not sampled.
        max_train_freq_pow: Exponent of the largest train_freq.
        update_to_data_pow: Exponent of SB3's updates per environment step.
        min_update_to_data_pow: Lowest exponent of updates per environment step.
        max_update_to_data_pow: Highest one; one less below the full space: time is trials.
        batch_size_pow: Exponent of SB3's batch size, used where it is not sampled.
        min_batch_size_pow: Lowest exponent of the batch size.
        max_batch_size_pow: Highest one; one more in the full space and with relabelled goals,
            where Zoo's tuned batches have 2048 samples.
    """

    train_freq_pow: int
    max_train_freq_pow: int
    update_to_data_pow: int
    min_update_to_data_pow: int
    max_update_to_data_pow: int
    batch_size_pow: int
    min_batch_size_pow: int
    max_batch_size_pow: int

    def update_dimensions(self) -> tuple[Dimension, ...]:
        """Return how often and how much the networks are updated.

        The ratio of updates to environment steps is searched instead of gradient_steps, whose
        effect depends on train_freq and on the number of environments.
        """
        return (
            PowerOfTwo(
                "train_freq_pow", 0, self._longest_train_freq_pow, argument="train_freq",
                default=self.train_freq_pow, source="Zoo YAML: 16 to 256",
            ),
            PowerOfTwo(
                "update_to_data_pow", self.min_update_to_data_pow, self._most_updates_pow,
                argument="update_to_data", together=("gradient_steps", "train_freq"),
                default=self.update_to_data_pow, since="small",
                source="up to four times SB3's default, twice below the full space",
            ),
        )  # fmt: skip

    def buffer_dimensions(self) -> tuple[Dimension, ...]:
        """Return the replay buffer, its warm-up and the batches drawn from it."""
        return (
            Int(
                "buffer_size", _smallest_buffer, _largest_buffer, log=True,
                default=_LARGEST_BUFFER, since="full",
                exists=lambda context: _largest_buffer(context) > _smallest_buffer(context),
                source="Zoo YAML: 10,000 and more; at most the budget, or what memory permits",
            ),
            Int(
                "learning_starts", _earliest_start, _latest_start, log=True,
                default=_DEFAULT_LEARNING_STARTS, since="full",
                exists=lambda context: _latest_start(context) > _earliest_start(context),
                source="at most a tenth of the budget; below ten steps there is none",
            ),
            PowerOfTwo(
                "batch_size_pow", self._smallest_batch_pow, self._largest_batch_pow,
                argument="batch_size", default=self.batch_size_pow, source="Zoo YAML",
            ),
            Int(
                "n_sampled_goal", 1, 8, argument="replay_buffer_kwargs.n_sampled_goal",
                together=("replay_buffer_kwargs",), default=None,
                exists=lambda context: context.her, source="Zoo: 1 to 5",
            ),
            Choice(
                "goal_selection_strategy", ("future", "final", "episode"),
                argument="replay_buffer_kwargs.goal_selection_strategy",
                together=("replay_buffer_kwargs",), default=None,
                since="full", exists=lambda context: context.her,
            ),
            Int(
                "n_steps", 1, 5, step=2, default=1, since="full", exists=_allows_n_step_returns,
                source="Rainbow uses 3",
            ),
        )  # fmt: skip

    def _longest_train_freq_pow(self, context: SpaceContext, _size: Size) -> int:
        return min(self.max_train_freq_pow, floor_log2(_longest_rollout(context)))

    def _most_updates_pow(self, _context: SpaceContext, size: Size) -> int:
        return self.max_update_to_data_pow - (not is_at_least(size, "full"))

    def _smallest_batch_pow(self, context: SpaceContext, size: Size) -> int:
        return min(self.min_batch_size_pow, self._largest_batch_pow(context, size))

    def _largest_batch_pow(self, context: SpaceContext, size: Size) -> int:
        # A batch larger than the buffer would hold nothing but repetitions.
        highest = self.max_batch_size_pow + (is_at_least(size, "full") or context.her)
        return min(highest, floor_log2(_smallest_buffer(context)))

    def do(self, values: Values, context: SpaceContext, _size: Size) -> dict[str, Any]:
        """Give updates, buffer, warm-up and batches that the budget permits."""
        return {**self._fit_updates(values, context), **self._fit_buffer(values, context)}

    def undo(self, values: Values, context: SpaceContext) -> None:
        """Say how many updates there are for each environment step."""
        train_freq = values.get("train_freq", 2**self.train_freq_pow)
        if isinstance(train_freq, tuple) and train_freq[1:] == ("step",):
            train_freq = values["train_freq"] = train_freq[0]
        steps = values.get("gradient_steps", 1)
        if not is_number(train_freq) or train_freq <= 0:  # an episode: nobody knows its length
            values.pop("train_freq")
        elif is_number(steps):
            rollout = train_freq * context.n_envs
            values["update_to_data"] = (rollout if steps < 0 else steps) / rollout

    def _fit_updates(self, values: Values, context: SpaceContext) -> dict[str, Any]:
        """Turn the ratio into gradient steps of a rollout that has a whole one."""
        longest = _longest_rollout(context)
        train_freq = values.get("train_freq", min(2**self.train_freq_pow, longest))
        updates_per_vec_step = values.pop("update_to_data") * context.n_envs
        # A rollout too short for one whole update is prolonged: one update every eight steps
        # rather than one per step. The tolerance is for ratios that are not powers of two.
        steps_per_update = math.ceil(1 / updates_per_vec_step - 1e-9)
        train_freq = max(train_freq, min(steps_per_update, longest))
        gradient_steps = max(1, math.floor(train_freq * updates_per_vec_step + 1e-9))
        used = {"train_freq": train_freq, "gradient_steps": gradient_steps}
        values |= used
        return {**used, "update_to_data": gradient_steps / (train_freq * context.n_envs)}

    def _fit_buffer(self, values: Values, context: SpaceContext) -> dict[str, Any]:
        notes = {}
        # Without a context nothing is known of the budget: SB3's own size is never too small.
        if "buffer_size" not in values and context != SpaceContext():
            values["buffer_size"] = notes["buffer_size"] = _largest_buffer(context)
        if "learning_starts" in values:
            if values["learning_starts"] < _NO_WARM_UP_BELOW and not context.her:
                values["learning_starts"] = 0
            notes["learning_starts"] = values["learning_starts"]
        else:
            usual = min(_DEFAULT_LEARNING_STARTS, _latest_start(context))
            values["learning_starts"] = _first_episodes(context) if context.her else usual
        values.setdefault("batch_size", min(2**self.batch_size_pow, _smallest_buffer(context)))
        values.setdefault("policy_kwargs", {})
        if context.her:
            from stable_baselines3 import HerReplayBuffer

            values["replay_buffer_class"] = HerReplayBuffer
            values.setdefault("replay_buffer_kwargs", {})
        return notes


def _longest_rollout(context: SpaceContext) -> int:
    return max_rollout_steps(context, minimum=MIN_ROLLOUT)


def _first_episodes(context: SpaceContext) -> int:
    """Return the steps after which each environment has ended an episode, or 0 without HER."""
    return (context.longest_episode or 0) * context.n_envs if context.her else 0


def _earliest_start(context: SpaceContext, _size: Size = "full") -> int:
    # SB3 can relabel only the goals of episodes that have ended.
    return _first_episodes(context) if context.her else _FEWEST_LEARNING_STARTS


def _latest_start(context: SpaceContext, _size: Size = "full") -> int:
    # Beyond a tenth of the budget, the warm-up would take the place of learning.
    return context.n_timesteps // 10


def _smallest_buffer(context: SpaceContext, _size: Size = "full") -> int:
    return min(_largest_buffer(context), max(_SMALLEST_BUFFER, 2 * _first_episodes(context)))


def _largest_buffer(context: SpaceContext, _size: Size = "full") -> int:
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
    if context.her or context.goal_env:
        return False
    return space is not None and not isinstance(space, Dict)
