"""Search space of TD3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._dimensions import Float, Int
from samplers._off_policy import (
    ACTION_NOISE,
    CONTINUOUS_REPLAY,
    DETERMINISTIC_ACTOR,
    Noise,
    tau,
)
from samplers._replay_buffer import MIN_ROLLOUT
from samplers._space import SearchSpace
from samplers.schedules import Schedules, learning_rate_schedule

if TYPE_CHECKING:
    from samplers._shared import Size, SpaceContext, TrialLike

SPACE = SearchSpace(
    Float("learning_rate", 1e-4, 3e-3, log=True, default=1e-3, since="small",
          source="Zoo YAML: 7e-4 and 1e-3; far higher rates end in NaN weights without an error"),
    learning_rate_schedule(),
    tau("default"),
    *ACTION_NOISE,
    *DETERMINISTIC_ACTOR,
    Int("policy_delay", 1, 4, default=2, since="full", source="around the paper's 2"),
    Float("target_policy_noise", 0.05, 0.5, default=0.2, since="full",
          source="around the paper's 0.2"),
    algorithm="TD3",
    min_rollout=MIN_ROLLOUT,
    supports_her=True,
    finish=(Schedules(), Noise(), CONTINUOUS_REPLAY),
)  # fmt: skip


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
    return SPACE.sample(trial, context=context, size=size)
