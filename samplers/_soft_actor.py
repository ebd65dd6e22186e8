"""What SAC, TQC and CrossQ share: an actor that is rewarded for its entropy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from samplers._off_policy import CONTINUOUS_DEFAULT_PARAMS
from samplers._shared import box_action_shape, is_at_least

if TYPE_CHECKING:
    from samplers._shared import Size, SpaceContext, TrialLike

SOFT_ACTOR_DEFAULT_PARAMS: dict[str, float | int | str] = {
    **CONTINUOUS_DEFAULT_PARAMS,
    "ent_coef_mode": "auto",
    "target_entropy_scale": 1.0,
    "use_sde": False,
}
"""SB3's defaults of the dimensions in which the three agree."""


def add_soft_actor_params(
    trial: TrialLike, kwargs: dict[str, Any], *, context: SpaceContext, size: Size
) -> None:
    """Add what the full space has on entropy and state-dependent exploration.

    Args:
        kwargs: Keyword arguments, with `policy_kwargs`; changed.
        size: How much is searched.
    """
    if not is_at_least(size, "full"):
        return
    kwargs |= _sample_entropy(trial, context)
    if box_action_shape(context) is not None:
        _add_sde(trial, kwargs)


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
    """Add state-dependent exploration and what belongs to it."""
    use_sde = trial.suggest_categorical("use_sde", [False, True])
    kwargs["use_sde"] = use_sde
    if not use_sde:
        return
    kwargs["sde_sample_freq"] = trial.suggest_categorical("sde_sample_freq", [-1, 8, 64])
    kwargs["use_sde_at_warmup"] = True  # Zoo YAML
    # Without state-dependent exploration, the standard deviation is a network output.
    kwargs["policy_kwargs"]["log_std_init"] = trial.suggest_float("log_std_init", -4.0, -1.0)
    kwargs["policy_kwargs"]["use_expln"] = trial.suggest_categorical("use_expln", [False, True])
