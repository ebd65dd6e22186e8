"""Search space of DDPG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._off_policy import (
    CONTINUOUS_DEFAULT_PARAMS,
    MIN_ROLLOUT,
    sample_deterministic_actor_params,
)
from samplers._shared import SpaceContext

if TYPE_CHECKING:
    from samplers._shared import Size, TrialLike

__all__ = ["DEFAULT_PARAMS", "MIN_ROLLOUT", "sample_ddpg_params"]

DEFAULT_PARAMS: dict[str, float | int | str] = {
    **CONTINUOUS_DEFAULT_PARAMS,
    "learning_rate": 1e-3,
    "tau": 0.005,
    "net_arch": "big",
    "noise_type": "none",
}
"""The point of the full space that stands for SB3's constructor defaults."""


def sample_ddpg_params(
    trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
) -> dict[str, Any]:
    """Sample DDPG's keyword arguments.

    Args:
        context: The problem; without it, `SpaceContext()`, that is an unknown action space and
            no action noise.
        size: "small" has five dimensions: learning_rate, one_minus_gamma, update_to_data_pow,
            noise_type, noise_std.

    Returns:
        Keyword arguments for `stable_baselines3.DDPG`.
    """
    context = context or SpaceContext()
    return sample_deterministic_actor_params(trial, context=context, size=size)
