"""Search space of DQN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._off_policy import (
    MIN_ROLLOUT,
    REPLAY_DEFAULT_PARAMS,
    ReplayRanges,
    sample_off_policy_params,
)
from samplers._shared import SpaceContext, is_at_least

if TYPE_CHECKING:
    from samplers._shared import Size, TrialLike

__all__ = ["DEFAULT_PARAMS", "MIN_ROLLOUT", "sample_dqn_params"]

DEFAULT_PARAMS: dict[str, float | int | str] = {
    **REPLAY_DEFAULT_PARAMS,
    "learning_rate": 1e-4,
    "train_freq_pow": 2,
    "update_to_data_pow": -2,
    "batch_size_pow": 5,
    "target_update_interval": 10_000,
    "exploration_fraction": 0.1,
    "exploration_final_eps": 0.05,
    "net_arch": "small",
}
"""The point of the full space that stands for SB3's constructor defaults."""

FIRST_POINTS: tuple[dict[str, float | int | str], ...] = (
    {
        **DEFAULT_PARAMS,
        # The middle of what RL Zoo has for Acrobot, CartPole and MountainCar.
        "learning_rate": 2e-3,
        "train_freq_pow": 4,
        "update_to_data_pow": -1,
        "batch_size_pow": 6,
        "target_update_interval": 250,
        "exploration_fraction": 0.16,
        "net_arch": "medium",
    },
)

# Zoo YAML has train_freq 16 and 256 and batches of 32 to 128. One update per environment step is
# four times SB3's default.
_RANGES = ReplayRanges(
    train_freq=4,
    max_train_freq_pow=8,
    update_to_data_pow=(-3, 0),
    batch_size=32,
    batch_size_pow=(4, 9),
)
_MAX_TARGET_UPDATE_INTERVAL = 10_000  # SB3's default


def sample_dqn_params(
    trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
) -> dict[str, Any]:
    """Sample DQN's keyword arguments.

    Args:
        trial: The Optuna trial.
        context: The problem; without it, `SpaceContext()`.
        size: "small" has five dimensions: learning_rate, one_minus_gamma, update_to_data_pow,
            target_update_interval, exploration_fraction.

    Returns:
        Keyword arguments for `stable_baselines3.DQN`.
    """
    context = context or SpaceContext()
    # Below the number of environments, SB3 warns that it would update after every step. Above a
    # tenth of the budget, the target network would hardly ever change.
    shortest = context.n_envs
    longest = max(shortest, min(_MAX_TARGET_UPDATE_INTERVAL, context.n_timesteps // 10))
    kwargs: dict[str, Any] = {
        # Zoo's 1e-5 to 2e-3 misses a tuned 4e-3.
        "learning_rate": trial.suggest_float("learning_rate", 1e-5, 5e-3, log=True),
        "target_update_interval": trial.suggest_int(
            "target_update_interval", shortest, longest, log=True
        ),
        "exploration_fraction": trial.suggest_float("exploration_fraction", 0.01, 0.5),  # Zoo
    }
    if is_at_least(size, "default"):
        final_eps = trial.suggest_float("exploration_final_eps", 0.005, 0.2, log=True)  # Zoo
        kwargs["exploration_final_eps"] = final_eps
    return kwargs | sample_off_policy_params(trial, context=context, size=size, ranges=_RANGES)
