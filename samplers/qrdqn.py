"""Search space of QR-DQN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._off_policy import MIN_ROLLOUT
from samplers._q_network import FAST_POINT, Q_NETWORK_DEFAULT_PARAMS, sample_q_network_params
from samplers._shared import SpaceContext, is_at_least

if TYPE_CHECKING:
    from samplers._shared import Size, TrialLike

__all__ = ["DEFAULT_PARAMS", "FIRST_POINTS", "MIN_ROLLOUT", "sample_qrdqn_params"]

DEFAULT_PARAMS: dict[str, float | int | str] = {
    **Q_NETWORK_DEFAULT_PARAMS,
    "learning_rate": 5e-5,
    "exploration_fraction": 0.005,
    "exploration_final_eps": 0.01,
    "n_quantiles": 200,
}
"""The point of the full space that stands for sb3-contrib's constructor defaults."""

FIRST_POINTS: tuple[dict[str, float | int | str], ...] = (
    {**DEFAULT_PARAMS, **FAST_POINT, "exploration_final_eps": 0.05, "n_quantiles": 25},
)


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
    kwargs = sample_q_network_params(trial, context=context or SpaceContext(), size=size)
    if is_at_least(size, "default"):
        # Zoo's 5 to 200; its tuned configurations use 10 to 170.
        n_quantiles = trial.suggest_int("n_quantiles", 5, 200, log=True)
        kwargs["policy_kwargs"]["n_quantiles"] = n_quantiles
    return kwargs
