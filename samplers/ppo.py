"""Search space of PPO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._clipped import (
    CLIPPED_DEFAULT_PARAMS,
    PPO_RANGES,
    first_points,
    sample_clipped_params,
)
from samplers._shared import SpaceContext, refuse_her

if TYPE_CHECKING:
    from samplers._shared import Size, TrialLike

MIN_ROLLOUT = PPO_RANGES.min_n_steps
"""Smallest n_steps, in steps of the vectorised environment."""

DEFAULT_PARAMS: dict[str, float | int | str] = dict(CLIPPED_DEFAULT_PARAMS)
"""The point of the full space that stands for SB3's constructor defaults."""

FIRST_POINTS = first_points(DEFAULT_PARAMS)


def sample_ppo_params(
    trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
) -> dict[str, Any]:
    """Sample PPO's keyword arguments.

    The rollout is a power of two per environment (`n_steps_pow`), split into a number of
    minibatches (`n_minibatches_pow`), so that the batch size always divides the rollout. The
    number of minibatches, then of epochs, is lowered where the two would make batches below 16
    samples or more updates per step than twice SB3's default (four times where the size is
    "full"). What was used is noted as user attributes `n_steps`, `n_minibatches`, `batch_size`
    and `n_epochs`.

    Args:
        context: The problem; without it, `SpaceContext()`.
        size: "small" has five dimensions: learning_rate, one_minus_gamma, n_steps_pow,
            n_minibatches_pow, activation_fn.

    Returns:
        Keyword arguments for `stable_baselines3.PPO`.
    """
    context = context or SpaceContext()
    refuse_her(context, "PPO")
    return sample_clipped_params(trial, context=context, size=size, ranges=PPO_RANGES)
