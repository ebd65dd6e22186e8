"""Search space of SAC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._off_policy import (
    CONTINUOUS_RANGES,
    MIN_ROLLOUT,
    sample_net_archs,
    sample_off_policy_params,
    sample_tau,
)
from samplers._shared import SpaceContext, is_at_least
from samplers._soft_actor import SOFT_ACTOR_DEFAULT_PARAMS, add_soft_actor_params
from samplers.schedules import sample_learning_rate

if TYPE_CHECKING:
    from samplers._shared import Size, TrialLike

__all__ = ["DEFAULT_PARAMS", "MIN_ROLLOUT", "sample_sac_params"]

DEFAULT_PARAMS: dict[str, float | int | str] = {
    **SOFT_ACTOR_DEFAULT_PARAMS,
    "learning_rate": 3e-4,
    "tau": 0.005,
    "net_arch": "medium",
    "n_critics": 2,
}
"""The point of the full space that stands for SB3's constructor defaults."""


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
    context = context or SpaceContext()
    kwargs: dict[str, Any] = {
        # Zoo YAML has 3e-4 to 1.5e-3; an order of magnitude more room below.
        "learning_rate": sample_learning_rate(trial, 3e-5, 3e-3, size=size),
        "tau": sample_tau(trial),
    }
    kwargs |= sample_off_policy_params(trial, context=context, size=size, ranges=CONTINUOUS_RANGES)
    kwargs["policy_kwargs"] |= sample_net_archs(trial, context=context, size=size)
    if is_at_least(size, "full"):
        kwargs["policy_kwargs"]["n_critics"] = trial.suggest_int("n_critics", 1, 2)  # Zoo YAML
    add_soft_actor_params(trial, kwargs, context=context, size=size)
    return kwargs
