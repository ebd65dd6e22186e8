"""Search space of DDPG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers import td3

if TYPE_CHECKING:
    from samplers._shared import Size, SpaceContext, TrialLike

SPACE = td3.SPACE.changed(without=("policy_delay", "target_policy_noise"), algorithm="DDPG")


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
    return SPACE.sample(trial, context=context, size=size)
