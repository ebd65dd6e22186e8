"""Search space of A2C."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._on_policy import ACTOR_CRITIC_DEFAULT_PARAMS, sample_actor_critic_params
from samplers._shared import SpaceContext, is_at_least, max_rollout_steps, refuse_her
from samplers.schedules import sample_learning_rate

if TYPE_CHECKING:
    from samplers._shared import Size, TrialLike

MIN_ROLLOUT = 4
"""Smallest n_steps, in steps of the vectorised environment."""

DEFAULT_PARAMS: dict[str, float | int | str] = {
    **ACTOR_CRITIC_DEFAULT_PARAMS,
    "learning_rate": 7e-4,
    "n_steps": 5,
    "one_minus_gae_lambda": 5e-4,  # below the threshold: lambda is exactly 1
    "use_rms_prop": True,
    "normalize_advantage": False,
}
"""The point of the full space that stands for SB3's constructor defaults."""


def sample_a2c_params(
    trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
) -> dict[str, Any]:
    """Sample A2C's keyword arguments.

    A2C makes one update per rollout. With rollouts of at least four steps that is at most 0.25
    updates per environment step, against 0.2 with SB3's default.

    Args:
        context: The problem; without it, `SpaceContext()`.
        size: "small" has four dimensions: learning_rate, one_minus_gamma, n_steps,
            activation_fn.

    Returns:
        Keyword arguments for `stable_baselines3.A2C`.
    """
    context = context or SpaceContext()
    refuse_her(context, "A2C")
    longest = min(256, max_rollout_steps(context, minimum=MIN_ROLLOUT))
    kwargs: dict[str, Any] = {
        # Zoo's 1e-5 to 2e-3, wider because A2C's default is already above PPO's. All
        # ten rates that Zoo's authors have tuned fall linearly.
        "learning_rate": sample_learning_rate(
            trial, 1e-5, 5e-3, size=size, schedule_from="default"
        ),
        # Zoo samples 32 to 2048, but its tuned configurations use 5, 8 and 100. A rollout of a
        # single sample would make a normalised advantage NaN.
        "n_steps": trial.suggest_int("n_steps", MIN_ROLLOUT, longest, log=True),
    }
    if is_at_least(size, "full"):
        # RMSprop is the default and Zoo YAML's choice; otherwise Adam.
        kwargs["use_rms_prop"] = trial.suggest_categorical("use_rms_prop", [True, False])
        normalize = trial.suggest_categorical("normalize_advantage", [False, True])
        kwargs["normalize_advantage"] = normalize
    return kwargs | sample_actor_critic_params(trial, context=context, size=size)
