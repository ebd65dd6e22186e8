"""Rollouts that are cut into minibatches, as the PPOs and TRPO's critic use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from samplers._shared import floor_log2, is_at_least, max_rollout_steps, power_of_two

if TYPE_CHECKING:
    from samplers._shared import Size, SpaceContext, TrialLike

_MIN_BATCH_SIZE = 16  # where the rollout permits
# Updates per environment step, in units of SB3's default. On classic control, PPO learns as well
# with twice as many as with four times, and time is trials.
_MAX_UPDATES: dict[Size, int] = {"small": 2, "default": 2, "full": 4}
# Zoo YAML has batches of 64 in rollouts of 2^15 samples.
_MAX_MINIBATCHES_POW: dict[Size, int] = {"small": 6, "default": 6, "full": 10}


@dataclass(frozen=True, kw_only=True)
class RolloutRanges:
    """Ranges in which the algorithms with minibatches differ.

    Attributes:
        min_n_steps: Smallest n_steps, a power of two.
        max_n_steps_pow: Exponent of the largest n_steps.
        min_samples: Samples of the smallest rollout, where the budget permits.
        passes: The argument that says how often a rollout is used.
        default_passes: SB3's default of it, used where it is not sampled.
        passes_range: Its lowest and highest value.
        default_batch_size: SB3's default, used where the number of minibatches is not sampled.
        minibatches_from: The smallest space that samples the number of minibatches.
        default_updates_per_step: Updates per environment step of SB3's default.
    """

    min_n_steps: int
    max_n_steps_pow: int
    min_samples: int
    passes: str
    default_passes: int
    passes_range: tuple[int, int]
    default_batch_size: int
    minibatches_from: Size
    default_updates_per_step: float


def sample_rollout(
    trial: TrialLike, *, context: SpaceContext, size: Size, ranges: RolloutRanges
) -> dict[str, int]:
    """Sample the rollout and how often it is used.

    The rollout is a power of two per environment (`n_steps_pow`), split into a number of
    minibatches (`n_minibatches_pow`), so that the batch size always divides the rollout. The
    number of minibatches, then of passes, is lowered where the two would make batches below 16
    samples or more updates per step than twice SB3's default (four times where the size is
    "full"). What was used is noted as user attributes.

    Args:
        size: How much is searched.
        ranges: The ranges in which the algorithms differ.

    Returns:
        `n_steps`, `batch_size` and the number of passes.
    """
    shortest, longest = _n_steps_pow_range(context, ranges)
    n_steps = power_of_two(trial.suggest_int("n_steps_pow", shortest, longest))
    rollout = n_steps * context.n_envs

    n_minibatches = max(1, rollout // ranges.default_batch_size)
    if is_at_least(size, ranges.minibatches_from):
        longest_rollout = 2**longest * context.n_envs
        most = min(
            _MAX_MINIBATCHES_POW[size], floor_log2(max(1, longest_rollout // _MIN_BATCH_SIZE))
        )
        n_minibatches = power_of_two(trial.suggest_int("n_minibatches_pow", 0, most))
    n_passes = ranges.default_passes
    if is_at_least(size, "default"):
        n_passes = trial.suggest_int(ranges.passes, *ranges.passes_range, log=True)

    max_updates = max(1, int(_MAX_UPDATES[size] * ranges.default_updates_per_step * rollout))
    while n_minibatches > 1 and (
        rollout % n_minibatches != 0
        or rollout // n_minibatches < _MIN_BATCH_SIZE
        or n_passes * n_minibatches > max_updates
    ):
        n_minibatches //= 2
    n_passes = min(n_passes, max_updates)

    trial.set_user_attr("n_minibatches", n_minibatches)
    batch_size = rollout // n_minibatches
    kwargs = {"n_steps": n_steps, "batch_size": batch_size, ranges.passes: n_passes}
    for name, value in kwargs.items():
        trial.set_user_attr(name, value)
    return kwargs


def _n_steps_pow_range(context: SpaceContext, ranges: RolloutRanges) -> tuple[int, int]:
    """Return the exponents of the shortest and the longest rollout."""
    most_steps = max_rollout_steps(context, minimum=ranges.min_n_steps)
    longest = min(ranges.max_n_steps_pow, floor_log2(most_steps))
    # Several environments share the samples.
    fewest_steps = max(ranges.min_n_steps, -(-ranges.min_samples // context.n_envs))
    return min(longest, (fewest_steps - 1).bit_length()), longest


def sample_target_kl_or_none(trial: TrialLike) -> Any:
    """Sample the limit of the KL divergence; above 0.1 there is none (the PPOs' default)."""
    limit = trial.suggest_float("target_kl_or_none", 0.005, 0.2, log=True)
    target_kl = None if limit > 0.1 else limit
    trial.set_user_attr("target_kl", target_kl)
    return target_kl
