"""What DQN and QR-DQN share: epsilon-greedy exploration and a target network that is copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samplers._dimensions import Choice, Float, Int
from samplers._off_policy import net_archs, off_policy_dimensions
from samplers._replay_buffer import Replay
from samplers._shared import SpaceContext, has_images
from samplers.schedules import learning_rate_schedule

if TYPE_CHECKING:
    from samplers._dimensions import Dimension
    from samplers._shared import Size
    from samplers._space import Params

FAST_POINT: Params = {
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
REPLAY = Replay(
    train_freq_pow=2,
    max_train_freq_pow=8,
    update_to_data_pow=-2,
    min_update_to_data_pow=-3,
    max_update_to_data_pow=0,
    batch_size_pow=5,
    min_batch_size_pow=4,
    max_batch_size_pow=9,
)
_MAX_TARGET_UPDATE_INTERVAL = 10_000  # SB3's default


def _shortest_interval(context: SpaceContext, _size: Size) -> int:
    return context.n_envs  # below, SB3 warns that it would update after every step


def _longest_interval(context: SpaceContext, size: Size) -> int:
    # Above a tenth of the budget, the target network would hardly ever change.
    longest = min(_MAX_TARGET_UPDATE_INTERVAL, context.n_timesteps // 10)
    return max(_shortest_interval(context, size), longest)


def _net_archs(context: SpaceContext, size: Size) -> dict[str, list[int]]:
    # SB3's own choice behind its CNN is no hidden layer at all.
    return {**({"linear": []} if has_images(context) else {}), **net_archs(context, size)}


def q_network_dimensions(
    *, learning_rate: float, exploration_fraction: float, exploration_final_eps: float
) -> tuple[Dimension, ...]:
    """Return what DQN and QR-DQN have in common, with their defaults."""
    return (
        Float("learning_rate", 1e-5, 5e-3, log=True, default=learning_rate, since="small",
              source="Zoo's 1e-5 to 2e-3 misses a tuned 4e-3"),
        learning_rate_schedule(),
        Int("target_update_interval", _shortest_interval, _longest_interval, log=True,
            default=_MAX_TARGET_UPDATE_INTERVAL, since="small",
            source="SB3's default is the largest; at most a tenth of the budget"),
        Float("exploration_fraction", 0.005, 0.5, default=exploration_fraction, since="small",
              source="Zoo: 0 to 0.5, from QR-DQN's default on"),
        Float("exploration_final_eps", 0.005, 0.2, log=True, default=exploration_final_eps,
              source="Zoo"),
        Float("exploration_initial_eps", 0.5, 1.0, default=1.0, since="full", source="ARLBench"),
        *off_policy_dimensions(REPLAY),
        Choice("net_arch", _net_archs, argument="policy_kwargs.net_arch", default="small",
               source="Zoo"),
    )  # fmt: skip
