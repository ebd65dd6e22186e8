"""Search space of TRPO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._on_policy import (
    BOX_ACTION_DEFAULT_PARAMS,
    NETWORK_DEFAULT_PARAMS,
    sample_gae_lambda,
    sample_policy,
)
from samplers._rollout import RolloutRanges, sample_rollout
from samplers._shared import SpaceContext, is_at_least, refuse_her, sample_gamma
from samplers.schedules import sample_learning_rate

if TYPE_CHECKING:
    from samplers._shared import Size, TrialLike

# Zoo's n_steps of 2^5 to 2^12 and critic updates of 5 to 30. The Fisher matrix of the policy
# step wants more samples than PPO's gradients.
_RANGES = RolloutRanges(
    min_n_steps=8,
    max_n_steps_pow=12,
    min_samples=128,
    passes="n_critic_updates",
    default_passes=10,
    passes_range=(5, 30),
    default_batch_size=128,
    minibatches_from="default",
    default_updates_per_step=10 / 128,
)

MIN_ROLLOUT = _RANGES.min_n_steps
"""Smallest n_steps, in steps of the vectorised environment."""

DEFAULT_PARAMS: dict[str, float | int | str] = {
    **NETWORK_DEFAULT_PARAMS,
    **BOX_ACTION_DEFAULT_PARAMS,
    "learning_rate": 1e-3,
    "learning_rate_schedule": "constant",
    "n_steps_pow": 11,
    "n_minibatches_pow": 4,
    "n_critic_updates": 10,
    "target_kl": 0.01,
    "one_minus_gamma": 0.01,
    "one_minus_gae_lambda": 0.05,
    "cg_max_steps": 15,
    "cg_damping": 0.1,
    "line_search_shrinking_factor": 0.8,
}
"""The point of the full space that stands for sb3-contrib's constructor defaults."""


def sample_trpo_params(
    trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
) -> dict[str, Any]:
    """Sample TRPO's keyword arguments.

    The policy makes one step per rollout, as long as `target_kl` permits; the learning rate, the
    minibatches and `n_critic_updates` are the critic's. They are bounded like PPO's minibatches
    and epochs: at most twice the critic updates per environment step of SB3's default, four
    times where the size is "full".

    Args:
        context: The problem; without it, `SpaceContext()`.
        size: "small" has five dimensions: learning_rate, one_minus_gamma, n_steps_pow,
            target_kl, activation_fn.

    Returns:
        Keyword arguments for `sb3_contrib.TRPO`.
    """
    context = context or SpaceContext()
    refuse_her(context, "TRPO")
    kwargs: dict[str, Any] = {
        # Zoo YAML has 2.5e-4 and 1e-3.
        "learning_rate": sample_learning_rate(trial, 1e-4, 5e-3, size=size),
        "target_kl": trial.suggest_float("target_kl", 1e-3, 0.1, log=True),  # Zoo
        "gamma": sample_gamma(trial, highest=0.2),  # as PPO
    }
    kwargs |= sample_rollout(trial, context=context, size=size, ranges=_RANGES)
    if is_at_least(size, "default"):
        kwargs["gae_lambda"] = sample_gae_lambda(trial)
        kwargs["cg_max_steps"] = trial.suggest_int("cg_max_steps", 5, 30)  # Zoo
    if is_at_least(size, "full"):
        # Zoo YAML has 1e-3 to 0.1; the shrinking factors are those of a comment in Zoo.
        kwargs["cg_damping"] = trial.suggest_float("cg_damping", 1e-3, 0.5, log=True)
        kwargs["line_search_shrinking_factor"] = trial.suggest_float(
            "line_search_shrinking_factor", 0.6, 0.9
        )
    return kwargs | sample_policy(trial, context=context, size=size)
