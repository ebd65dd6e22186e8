"""Search space of SAC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._dimensions import Float, Int
from samplers._off_policy import (
    CONTINUOUS_REPLAY,
    net_arch,
    off_policy_dimensions,
    tau,
)
from samplers._replay_buffer import MIN_ROLLOUT
from samplers._soft_actor import SOFT_ACTOR, Entropy
from samplers._space import SearchSpace
from samplers.schedules import Schedules, learning_rate_schedule

if TYPE_CHECKING:
    from samplers._shared import Size, SpaceContext, TrialLike

SPACE = SearchSpace(
    Float("learning_rate", 3e-5, 3e-3, log=True, default=3e-4, since="small",
          source="Zoo YAML: 3e-4 to 1.5e-3; an order of magnitude more room below"),
    learning_rate_schedule(),
    tau("small"),
    *off_policy_dimensions(CONTINUOUS_REPLAY),
    net_arch("medium"),
    Int("n_critics", 1, 2, argument="policy_kwargs.n_critics", default=2, since="full",
        source="Zoo YAML"),
    *SOFT_ACTOR,
    algorithm="SAC",
    min_rollout=MIN_ROLLOUT,
    supports_her=True,
    finish=(Schedules(), CONTINUOUS_REPLAY, Entropy()),
)  # fmt: skip


def sample_sac_params(
    trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
) -> dict[str, Any]:
    """Sample SAC's keyword arguments.

    Args:
        context: The problem; without it, `SpaceContext()`, that is an unknown action space and
            no state-dependent exploration.
        size: "small" has four dimensions: learning_rate, one_minus_gamma, tau,
            update_to_data_pow.

    Returns:
        Keyword arguments for `stable_baselines3.SAC`.
    """
    return SPACE.sample(trial, context=context, size=size)
