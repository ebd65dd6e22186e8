"""Search space of DQN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._off_policy import MIN_ROLLOUT
from samplers._q_network import FAST_POINT, Q_NETWORK_DEFAULT_PARAMS, sample_q_network_params
from samplers._shared import SpaceContext

if TYPE_CHECKING:
    from samplers._shared import Size, TrialLike

__all__ = ["DEFAULT_PARAMS", "FIRST_POINTS", "MIN_ROLLOUT", "sample_dqn_params"]

DEFAULT_PARAMS: dict[str, float | int | str] = {
    **Q_NETWORK_DEFAULT_PARAMS,
    "learning_rate": 1e-4,
    "exploration_fraction": 0.1,
    "exploration_final_eps": 0.05,
}
"""The point of the full space that stands for SB3's constructor defaults."""

FIRST_POINTS: tuple[dict[str, float | int | str], ...] = ({**DEFAULT_PARAMS, **FAST_POINT},)


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
    return sample_q_network_params(trial, context=context or SpaceContext(), size=size)
