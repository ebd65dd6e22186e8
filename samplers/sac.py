"""Search space of SAC."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from samplers._off_policy import (
    CONTINUOUS_DEFAULT_PARAMS,
    CONTINUOUS_RANGES,
    MIN_ROLLOUT,
    sample_off_policy_params,
    sample_tau,
)
from samplers._shared import SpaceContext, box_action_shape, is_at_least

if TYPE_CHECKING:
    from samplers._shared import Size, TrialLike

__all__ = ["DEFAULT_PARAMS", "MIN_ROLLOUT", "sample_sac_params"]

DEFAULT_PARAMS: dict[str, float | int | str] = {
    **CONTINUOUS_DEFAULT_PARAMS,
    "learning_rate": 3e-4,
    "net_arch": "medium",
    "n_critics": 2,
    "ent_coef_mode": "auto",
    "target_entropy_scale": 1.0,
    "use_sde": False,
}
"""The point of the full space that stands for SB3's constructor defaults."""


def sample_sac_params(
    trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
) -> dict[str, Any]:
    """Sample SAC's keyword arguments.

    Args:
        trial: The Optuna trial.
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
        "learning_rate": trial.suggest_float("learning_rate", 3e-5, 3e-3, log=True),
        "tau": sample_tau(trial),
    }
    kwargs |= sample_off_policy_params(trial, context=context, size=size, ranges=CONTINUOUS_RANGES)
    if is_at_least(size, "full"):
        kwargs |= _sample_entropy(trial, context)
        kwargs["policy_kwargs"]["n_critics"] = trial.suggest_int("n_critics", 1, 2)  # Zoo YAML
        if box_action_shape(context) is not None:
            _add_sde(trial, kwargs)
    return kwargs


def _sample_entropy(trial: TrialLike, context: SpaceContext) -> dict[str, Any]:
    """Sample a fixed entropy coefficient, or the target for which SAC learns it.

    The target is a multiple of SB3's own, minus the number of action dimensions.
    """
    if trial.suggest_categorical("ent_coef_mode", ["auto", "fixed"]) == "fixed":
        ent_coef = trial.suggest_float("ent_coef_fixed", 1e-3, 0.5, log=True)  # Zoo YAML
        trial.set_user_attr("ent_coef", ent_coef)
        return {"ent_coef": ent_coef}
    trial.set_user_attr("ent_coef", "auto")
    kwargs: dict[str, Any] = {"ent_coef": "auto"}
    shape = box_action_shape(context)
    if shape is not None:
        scale = trial.suggest_float("target_entropy_scale", 0.25, 2.0, log=True)
        target = -scale * math.prod(shape)
        trial.set_user_attr("target_entropy", target)
        # A scale of one is what SB3 calls "auto".
        kwargs["target_entropy"] = "auto" if scale == 1.0 else target
    return kwargs


def _add_sde(trial: TrialLike, kwargs: dict[str, Any]) -> None:
    """Add state-dependent exploration, with the settings Zoo YAML uses along with it."""
    use_sde = trial.suggest_categorical("use_sde", [False, True])
    kwargs["use_sde"] = use_sde
    if not use_sde:
        return
    kwargs["sde_sample_freq"] = trial.suggest_categorical("sde_sample_freq", [-1, 8, 64])
    kwargs["use_sde_at_warmup"] = True
    # Without state-dependent exploration, SAC's standard deviation is a network output.
    kwargs["policy_kwargs"]["log_std_init"] = trial.suggest_float("log_std_init", -4.0, -1.0)
    kwargs["policy_kwargs"]["use_expln"] = True
