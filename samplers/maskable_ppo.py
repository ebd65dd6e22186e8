"""Search space of MaskablePPO."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from samplers._clipped import (
    CLIPPED_DEFAULT_PARAMS,
    PPO_RANGES,
    first_points,
    sample_clipped_params,
)
from samplers._on_policy import BOX_ACTION_DEFAULT_PARAMS
from samplers._shared import SpaceContext, refuse_her

if TYPE_CHECKING:
    from samplers._shared import Size, TrialLike

MIN_ROLLOUT = PPO_RANGES.min_n_steps
"""Smallest n_steps, in steps of the vectorised environment."""

DEFAULT_PARAMS: dict[str, float | int | str] = {
    name: value
    for name, value in CLIPPED_DEFAULT_PARAMS.items()
    if name not in BOX_ACTION_DEFAULT_PARAMS
}
"""The point of the full space that stands for sb3-contrib's constructor defaults."""

FIRST_POINTS = first_points(DEFAULT_PARAMS)


def sample_maskable_ppo_params(
    trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
) -> dict[str, Any]:
    """Sample MaskablePPO's keyword arguments: PPO's space for discrete actions.

    Rollouts are cut into equal minibatches, as in PPO's space. Here that is not a matter of
    taste: a last minibatch of one sample makes MaskablePPO's normalised advantages NaN.

    Args:
        context: The problem; without it, `SpaceContext()`.
        size: "small" has five dimensions: learning_rate, one_minus_gamma, n_steps_pow,
            n_minibatches_pow, activation_fn.

    Returns:
        Keyword arguments for `sb3_contrib.MaskablePPO`.
    """
    context = context or SpaceContext()
    refuse_her(context, "MaskablePPO")
    # Masks are for discrete actions; the class takes no argument that is for continuous ones.
    context = replace(context, action_space=None)
    return sample_clipped_params(trial, context=context, size=size, ranges=PPO_RANGES)
