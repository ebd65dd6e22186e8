"""Search space of TQC."""

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

__all__ = ["DEFAULT_PARAMS", "MIN_ROLLOUT", "sample_tqc_params"]

DEFAULT_PARAMS: dict[str, float | int | str] = {
    **SOFT_ACTOR_DEFAULT_PARAMS,
    "learning_rate": 3e-4,
    "tau": 0.005,
    "top_quantiles_to_drop_per_net": 2,
    "n_quantiles": 25,
    "net_arch": "medium",
    "n_critics": 2,
}
"""The point of the full space that stands for sb3-contrib's constructor defaults."""

_MOST_DROPPED = 5  # Zoo


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
    context = context or SpaceContext()
    kwargs: dict[str, Any] = {
        "learning_rate": sample_learning_rate(trial, 3e-5, 3e-3, size=size),  # as SAC
        "tau": sample_tau(trial),
        "top_quantiles_to_drop_per_net": trial.suggest_int(
            "top_quantiles_to_drop_per_net", 0, _MOST_DROPPED
        ),
    }
    kwargs |= sample_off_policy_params(trial, context=context, size=size, ranges=CONTINUOUS_RANGES)
    kwargs["policy_kwargs"] |= sample_net_archs(trial, context=context, size=size)
    if is_at_least(size, "default"):
        # Zoo's 5 to 50, but more than can be dropped: TQC does not notice when none is left.
        n_quantiles = trial.suggest_int("n_quantiles", _MOST_DROPPED + 1, 50)
        kwargs["policy_kwargs"]["n_quantiles"] = n_quantiles
    if is_at_least(size, "full"):
        # Zoo YAML has 1 and 2, the paper 5.
        kwargs["policy_kwargs"]["n_critics"] = trial.suggest_int("n_critics", 1, 5, log=True)
    add_soft_actor_params(trial, kwargs, context=context, size=size)
    return kwargs
