"""Search space of QR-DQN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._dimensions import Int
from samplers._q_network import FAST_POINT, REPLAY, q_network_dimensions
from samplers._replay_buffer import MIN_ROLLOUT
from samplers._space import SearchSpace
from samplers.schedules import Schedules

if TYPE_CHECKING:
    from samplers._shared import Size, SpaceContext, TrialLike

SPACE = SearchSpace(
    *q_network_dimensions(
        learning_rate=5e-5, exploration_fraction=0.005, exploration_final_eps=0.01
    ),
    Int("n_quantiles", 5, 200, log=True, argument="policy_kwargs.n_quantiles", default=200,
        source="Zoo: 5 to 200; its tuned configurations use 10 to 170"),
    algorithm="QR-DQN",
    min_rollout=MIN_ROLLOUT,
    supports_her=True,
    finish=(Schedules(), REPLAY),
    first_points=({**FAST_POINT, "exploration_final_eps": 0.05, "n_quantiles": 25},),
)  # fmt: skip


def sample_qrdqn_params(
    trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
) -> dict[str, Any]:
    """Sample QR-DQN's keyword arguments: DQN's space and the number of quantiles.

    Args:
        context: The problem; without it, `SpaceContext()`.
        size: "small" has five dimensions: learning_rate, one_minus_gamma, update_to_data_pow,
            target_update_interval, exploration_fraction.

    Returns:
        Keyword arguments for `sb3_contrib.QRDQN`.
    """
    return SPACE.sample(trial, context=context, size=size)
