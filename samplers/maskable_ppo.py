"""Search space of MaskablePPO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers import ppo

if TYPE_CHECKING:
    from samplers._shared import Size, SpaceContext, TrialLike

SPACE = ppo.SPACE.changed(
    # Masks are for discrete actions; the class takes no argument that is for continuous ones.
    without=("log_std_init", "use_sde", "sde_sample_freq", "use_expln"),
    algorithm="MaskablePPO",
    first_points=ppo.FIRST_POINTS,
)


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
    return SPACE.sample(trial, context=context, size=size)
