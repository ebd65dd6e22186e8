"""What DQN and QR-DQN share: epsilon-greedy exploration and a target network that is copied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._off_policy import (
    OFF_POLICY_DEFAULT_PARAMS,
    sample_net_archs,
    sample_off_policy_params,
)
from samplers._replay_buffer import ReplayRanges
from samplers._shared import has_images, is_at_least
from samplers.schedules import sample_learning_rate

if TYPE_CHECKING:
    from samplers._shared import Size, SpaceContext, TrialLike

Q_NETWORK_DEFAULT_PARAMS: dict[str, float | int | str] = {
    **OFF_POLICY_DEFAULT_PARAMS,
    "train_freq_pow": 2,
    "update_to_data_pow": -2,
    "batch_size_pow": 5,
    "target_update_interval": 10_000,
    "exploration_initial_eps": 1.0,
    "net_arch": "small",
}
"""SB3's defaults of the dimensions in which the two agree."""

FAST_POINT: dict[str, float | int | str] = {
    # The middle of what RL Zoo has for Acrobot, CartPole and MountainCar.
    "learning_rate": 2e-3,
    "train_freq_pow": 4,
    "update_to_data_pow": -1,
    "batch_size_pow": 6,
    "target_update_interval": 250,
    "exploration_fraction": 0.16,
    "net_arch": "medium",
}

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


def sample_q_network_params(
    trial: TrialLike, *, context: SpaceContext, size: Size
) -> dict[str, Any]:
    """Sample the keyword arguments that DQN and QR-DQN have in common.

    Args:
        size: How much is searched.

    Returns:
        Constructor keyword arguments.
    """
    # Below the number of environments, SB3 warns that it would update after every step. Above a
    # tenth of the budget, the target network would hardly ever change.
    shortest = context.n_envs
    longest = max(shortest, min(_MAX_TARGET_UPDATE_INTERVAL, context.n_timesteps // 10))
    kwargs: dict[str, Any] = {
        # Zoo's 1e-5 to 2e-3 misses a tuned 4e-3.
        "learning_rate": sample_learning_rate(trial, 1e-5, 5e-3, size=size),
        "target_update_interval": trial.suggest_int(
            "target_update_interval", shortest, longest, log=True
        ),
        # Zoo's 0 to 0.5, from QR-DQN's default on.
        "exploration_fraction": trial.suggest_float("exploration_fraction", 0.005, 0.5),
    }
    if is_at_least(size, "default"):
        final_eps = trial.suggest_float("exploration_final_eps", 0.005, 0.2, log=True)  # Zoo
        kwargs["exploration_final_eps"] = final_eps
    if is_at_least(size, "full"):
        initial_eps = trial.suggest_float("exploration_initial_eps", 0.5, 1.0)  # ARLBench
        kwargs["exploration_initial_eps"] = initial_eps
    kwargs |= sample_off_policy_params(trial, context=context, size=size, ranges=_RANGES)
    # SB3's own choice behind its CNN is no hidden layer at all.
    more: dict[str, list[int]] = {"linear": []} if has_images(context) else {}
    kwargs["policy_kwargs"] |= sample_net_archs(trial, context=context, size=size, more=more)
    return kwargs
