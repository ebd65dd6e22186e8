"""Search space of TQC."""

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

_MOST_DROPPED = 5

SPACE = SearchSpace(
    Float("learning_rate", 3e-5, 3e-3, log=True, default=3e-4, since="small", source="as SAC"),
    learning_rate_schedule(),
    tau("small"),
    Int("top_quantiles_to_drop_per_net", 0, _MOST_DROPPED, default=2, since="small", source="Zoo"),
    *off_policy_dimensions(CONTINUOUS_REPLAY),
    net_arch("medium"),
    Int("n_quantiles", _MOST_DROPPED + 1, 50, argument="policy_kwargs.n_quantiles", default=25,
        source="Zoo: 5 to 50, but more than are dropped: TQC does not notice when none is left"),
    Int("n_critics", 1, 5, log=True, argument="policy_kwargs.n_critics", default=2, since="full",
        source="Zoo YAML: 1 and 2; the paper: 5"),
    *SOFT_ACTOR,
    algorithm="TQC",
    min_rollout=MIN_ROLLOUT,
    supports_her=True,
    finish=(Schedules(), CONTINUOUS_REPLAY, Entropy()),
)  # fmt: skip


def sample_tqc_params(
    trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
) -> dict[str, Any]:
    """Sample TQC's keyword arguments.

    Args:
        context: The problem; without it, `SpaceContext()`, that is an unknown action space and
            no state-dependent exploration.
        size: "small" has five dimensions: learning_rate, one_minus_gamma, tau,
            update_to_data_pow, top_quantiles_to_drop_per_net.

    Returns:
        Keyword arguments for `sb3_contrib.TQC`.
    """
    return SPACE.sample(trial, context=context, size=size)
