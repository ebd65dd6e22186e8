"""What PPO, MaskablePPO and RecurrentPPO share: the clipped objective."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from samplers._on_policy import ACTOR_CRITIC_DEFAULT_PARAMS, sample_actor_critic_params
from samplers._rollout import RolloutRanges, sample_rollout, sample_target_kl_or_none
from samplers._shared import is_at_least
from samplers.schedules import sample_clip_range, sample_learning_rate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from samplers._shared import Size, SpaceContext, TrialLike

CLIPPED_DEFAULT_PARAMS: dict[str, float | int | str] = {
    **ACTOR_CRITIC_DEFAULT_PARAMS,
    "learning_rate": 3e-4,
    "n_steps_pow": 11,
    "n_minibatches_pow": 5,
    "n_epochs": 10,
    "one_minus_gae_lambda": 0.05,
    "clip_range": 0.2,
    "clip_range_schedule": "constant",
    "target_kl_or_none": 0.2,  # above the threshold: no limit
}
"""SB3's defaults of PPO."""

# SB3's default, but with rollouts that a short budget has many of (1,024 samples in eight
# environments) and a rate to match; gamma is the problem's own, so once far and once near.
# That the rate falls took ten seeds on Pendulum from -315 (worst -721) to -258 (-432), on Acrobot
# from -86 to -83, and left CartPole at 500.
_SHORT_ROLLOUTS: dict[str, float | int | str] = {
    "learning_rate": 1e-3,
    "learning_rate_schedule": "linear",
    "n_steps_pow": 7,
    "n_minibatches_pow": 4,
    "activation_fn": "relu",
}

# Zoo's n_steps of 2^5 to 2^12 and epochs of 1, 5, 10 and 20.
PPO_RANGES = RolloutRanges(
    min_n_steps=8,
    max_n_steps_pow=12,
    min_samples=32,
    passes="n_epochs",
    default_passes=10,
    passes_range=(1, 20),
    default_batch_size=64,
    minibatches_from="small",
    default_updates_per_step=10 / 64,
)

# Backpropagation through time needs sequences; Zoo YAML has 16 to 2048 steps.
RECURRENT_RANGES = replace(
    PPO_RANGES,
    min_n_steps=16,
    max_n_steps_pow=11,
    default_batch_size=128,
    default_updates_per_step=10 / 128,
)


def first_points(
    default_params: Mapping[str, float | int | str],
) -> tuple[dict[str, float | int | str], ...]:
    """Return points with rollouts short enough to learn fast on small problems."""
    return tuple(
        {**default_params, **_SHORT_ROLLOUTS, "one_minus_gamma": one_minus_gamma}
        for one_minus_gamma in (0.01, 0.1)
    )


def sample_clipped_params(
    trial: TrialLike,
    *,
    context: SpaceContext,
    size: Size,
    ranges: RolloutRanges,
    net_archs: Mapping[str, list[int]] | None = None,
) -> dict[str, Any]:
    """Sample the keyword arguments that the three PPOs have in common.

    Args:
        size: How much is searched.
        ranges: The ranges in which they differ.
        net_archs: Hidden layers by name, where they are not the usual ones.

    Returns:
        Constructor keyword arguments.
    """
    # Zoo's 1e-5 to 2e-3, a little wider. Whether it falls decides whether the last policy of a
    # run is as good as the run: three tuned configurations on Pendulum, 40,000 steps, had -466,
    # -529 and -864 on the worst of ten seeds, and with twice the rate falling linearly -223, -220
    # and -391; their interquartile means rose from -236, -218 and -229 to -193, -205 and -187.
    kwargs: dict[str, Any] = {
        "learning_rate": sample_learning_rate(
            trial, 1e-5, 3e-3, size=size, schedule_from="default"
        ),
    }
    kwargs |= sample_rollout(trial, context=context, size=size, ranges=ranges)
    if is_at_least(size, "default"):
        kwargs["clip_range"] = sample_clip_range(trial, size=size)
    if is_at_least(size, "full"):
        kwargs["target_kl"] = sample_target_kl_or_none(trial)
    return kwargs | sample_actor_critic_params(
        trial, context=context, size=size, net_archs=net_archs
    )
