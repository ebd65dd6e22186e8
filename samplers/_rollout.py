"""Rollouts that are cut into minibatches, as the PPOs and TRPO's critic use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from samplers._dimensions import is_number
from samplers._shared import SpaceContext, floor_log2, max_rollout_steps
from samplers._space import Finish

if TYPE_CHECKING:
    from samplers._shared import Size
    from samplers._space import Values

_MIN_BATCH_SIZE = 16  # where the rollout permits
# Updates per environment step, in units of SB3's default. On classic control, PPO learns as well
# with twice as many as with four times, and time is trials.
_MAX_UPDATES: dict[Size, int] = {"small": 2, "default": 2, "full": 4}
_MAX_MINIBATCHES_POW: dict[Size, int] = {"small": 6, "default": 6, "full": 10}


@dataclass(frozen=True, kw_only=True)
class Rollout(Finish):
    """What bounds a rollout and its use, where the algorithms with minibatches differ.

    Attributes:
        min_n_steps: Smallest n_steps, a power of two.
        max_n_steps_pow: Exponent of the largest n_steps.
        min_samples: Samples of the smallest rollout, where the budget permits.
        passes: The argument that says how often a rollout is used.
        default_passes: SB3's default of it, used where it is not sampled.
        default_n_steps: SB3's default.
        default_batch_size: SB3's default, used where the number of minibatches is not sampled.
        default_updates_per_step: Updates per environment step of SB3's default.
    """

    min_n_steps: int
    max_n_steps_pow: int
    min_samples: int
    passes: str
    default_passes: int
    default_n_steps: int
    default_batch_size: int
    default_updates_per_step: float

    def shortest_pow(self, context: SpaceContext, size: Size) -> int:
        """Return the exponent of the smallest n_steps; several environments share the samples."""
        fewest_steps = max(self.min_n_steps, -(-self.min_samples // context.n_envs))
        return min(self.longest_pow(context, size), (fewest_steps - 1).bit_length())

    def longest_pow(self, context: SpaceContext, _size: Size) -> int:
        """Return the exponent of the largest n_steps that fits between two evaluations."""
        most_steps = max_rollout_steps(context, minimum=self.min_n_steps)
        return min(self.max_n_steps_pow, floor_log2(most_steps))

    def most_minibatches_pow(self, context: SpaceContext, size: Size) -> int:
        """Return the exponent of the largest number of minibatches."""
        longest_rollout = 2 ** self.longest_pow(context, size) * context.n_envs
        fitting = floor_log2(max(1, longest_rollout // _MIN_BATCH_SIZE))
        return min(_MAX_MINIBATCHES_POW[size], fitting)

    def do(self, values: Values, context: SpaceContext, size: Size) -> dict[str, Any]:
        """Cut the rollout into equal minibatches, and use it not too often.

        The number of minibatches, then of passes, is lowered where the two would make batches
        below 16 samples or more updates per step than twice SB3's default (four times where the
        size is "full").

        Returns:
            What is used: `n_steps`, `n_minibatches`, `batch_size` and the number of passes.
        """
        rollout = values["n_steps"] * context.n_envs
        n_minibatches = values.pop("n_minibatches", max(1, rollout // self.default_batch_size))
        n_passes = values.get(self.passes, self.default_passes)
        most = max(1, int(_MAX_UPDATES[size] * self.default_updates_per_step * rollout))
        while n_minibatches > 1 and (
            rollout % n_minibatches != 0
            or rollout // n_minibatches < _MIN_BATCH_SIZE
            or n_passes * n_minibatches > most
        ):
            n_minibatches //= 2
        used = {
            "n_steps": values["n_steps"],
            "batch_size": rollout // n_minibatches,
            self.passes: min(n_passes, most),
        }
        values |= used
        return {"n_minibatches": n_minibatches, **used}

    def undo(self, values: Values, context: SpaceContext) -> None:
        """Say in how many minibatches the rollout is cut."""
        n_steps = values.get("n_steps", self.default_n_steps)
        batch_size = values.pop("batch_size", self.default_batch_size)
        if is_number(n_steps) and is_number(batch_size) and batch_size > 0:
            values["n_minibatches"] = n_steps * context.n_envs / batch_size
