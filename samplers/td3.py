"""Search space of TD3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._off_policy import (
    CONTINUOUS_DEFAULT_PARAMS,
    MIN_ROLLOUT,
    sample_deterministic_actor_params,
)
from samplers._shared import SpaceContext, is_at_least

if TYPE_CHECKING:
    from samplers._shared import Size, TrialLike

__all__ = ["DEFAULT_PARAMS", "MIN_ROLLOUT", "sample_td3_params"]

DEFAULT_PARAMS: dict[str, float | int | str] = {
    **CONTINUOUS_DEFAULT_PARAMS,
    "learning_rate": 1e-3,
    "tau": 0.005,
    "net_arch": "big",
    "noise_type": "none",
    "policy_delay": 2,
    "target_policy_noise": 0.2,
}
"""The point of the full space that stands for SB3's constructor defaults."""


def sample_td3_params(
    trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
) -> dict[str, Any]:
    """Sample TD3's keyword arguments.

    Args:
        context: The problem; without it, `SpaceContext()`, that is an unknown action space and
            no action noise.
        size: "small" has five dimensions: learning_rate, one_minus_gamma, update_to_data_pow,
            noise_type, noise_std.

    Returns:
        Keyword arguments for `stable_baselines3.TD3`.
    """
    context = context or SpaceContext()
    kwargs = sample_deterministic_actor_params(trial, context=context, size=size)
    if is_at_least(size, "full"):
        # Around the paper's 2 and 0.2, SB3's defaults.
        kwargs["policy_delay"] = trial.suggest_int("policy_delay", 1, 4)
        kwargs["target_policy_noise"] = trial.suggest_float("target_policy_noise", 0.05, 0.5)
    return kwargs
