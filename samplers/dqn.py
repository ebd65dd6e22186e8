"""Search space of DQN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._q_network import FAST_POINT, REPLAY, q_network_dimensions
from samplers._replay_buffer import MIN_ROLLOUT
from samplers._space import SearchSpace
from samplers.schedules import Schedules

if TYPE_CHECKING:
    from samplers._shared import Size, SpaceContext, TrialLike

SPACE = SearchSpace(
    *q_network_dimensions(
        learning_rate=1e-4, exploration_fraction=0.1, exploration_final_eps=0.05
    ),
    algorithm="DQN",
    min_rollout=MIN_ROLLOUT,
    supports_her=True,
    finish=(Schedules(), REPLAY),
    first_points=(FAST_POINT,),
)


def sample_dqn_params(
    trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
) -> dict[str, Any]:
    """Sample DQN's keyword arguments.

    Args:
        context: The problem; without it, `SpaceContext()`.
        size: "small" has five dimensions: learning_rate, one_minus_gamma, update_to_data_pow,
            target_update_interval, exploration_fraction.

    Returns:
        Keyword arguments for `stable_baselines3.DQN`.
    """
    return SPACE.sample(trial, context=context, size=size)
