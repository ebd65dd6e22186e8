"""What the on-policy spaces (A2C, TRPO and the three PPOs) share.

Ranges are those of RL Zoo's samplers, widened where its tuned configurations lie outside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._shared import (
    box_action_shape,
    has_images,
    is_at_least,
    sample_activation_fn,
    sample_gamma,
    sample_net_arch,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from samplers._shared import Size, SpaceContext, TrialLike

_NET_ARCHS = {"tiny": [64], "small": [64, 64], "medium": [256, 256]}  # Zoo
_FULL_NET_ARCHS = {**_NET_ARCHS, "wide": [256]}  # one or two layers of 64 or 256

NETWORK_DEFAULT_PARAMS: dict[str, float | int | str] = {
    "net_arch": "small",
    "activation_fn": "tanh",
    "ortho_init": True,
}
"""SB3's defaults of the networks."""

BOX_ACTION_DEFAULT_PARAMS: dict[str, float | int | str] = {
    "use_sde": False,
    "log_std_init": 0.0,
}
"""SB3's defaults of the dimensions that only continuous actions have."""

LOSS_DEFAULT_PARAMS: dict[str, float | int | str] = {
    "ent_coef": 1e-8,  # below the threshold: exactly 0
    "max_grad_norm": 0.5,
    "vf_coef": 0.5,
}
"""SB3's defaults of the loss, which TRPO does not have."""

ACTOR_CRITIC_DEFAULT_PARAMS: dict[str, float | int | str] = {
    "one_minus_gamma": 0.01,
    **LOSS_DEFAULT_PARAMS,
    **NETWORK_DEFAULT_PARAMS,
    **BOX_ACTION_DEFAULT_PARAMS,
    "learning_rate_schedule": "constant",
}
"""SB3's defaults of the dimensions in which PPO and A2C agree (all but lambda)."""


def sample_actor_critic_params(
    trial: TrialLike,
    *,
    context: SpaceContext,
    size: Size,
    net_archs: Mapping[str, list[int]] | None = None,
) -> dict[str, Any]:
    """Sample the keyword arguments that A2C and the PPOs have in common.

    Args:
        size: How much is searched.
        net_archs: Hidden layers by name, where they are not the usual ones.

    Returns:
        Constructor keyword arguments.
    """
    # Zoo's lowest gamma is 0.97; its tuned configurations use 0.9, ARLBench goes to 0.8.
    kwargs: dict[str, Any] = {"gamma": sample_gamma(trial, highest=0.2)}
    if is_at_least(size, "default"):
        kwargs["gae_lambda"] = sample_gae_lambda(trial)
        kwargs["ent_coef"] = _sample_ent_coef(trial)
        # Optuna's example; Zoo stops at 2 and misses a tuned 5.
        kwargs["max_grad_norm"] = trial.suggest_float("max_grad_norm", 0.3, 5.0, log=True)
    if is_at_least(size, "full"):
        kwargs["vf_coef"] = trial.suggest_float("vf_coef", 0.1, 1.0)  # Zoo YAML, ARLBench
    return kwargs | sample_policy(trial, context=context, size=size, net_archs=net_archs)


def sample_gae_lambda(trial: TrialLike) -> float:
    """Sample lambda as 1 - lambda; below 1e-3 it is exactly 1 (Monte Carlo, A2C's default)."""
    # Zoo's tuned configurations hold 0.8 and 1.0, both outside of its own range.
    one_minus_lambda = trial.suggest_float("one_minus_gae_lambda", 5e-4, 0.25, log=True)
    gae_lambda = 1.0 if one_minus_lambda < 1e-3 else 1.0 - one_minus_lambda
    trial.set_user_attr("gae_lambda", gae_lambda)
    return gae_lambda


def sample_policy(
    trial: TrialLike,
    *,
    context: SpaceContext,
    size: Size,
    net_archs: Mapping[str, list[int]] | None = None,
) -> dict[str, Any]:
    """Sample the networks of actor and critic, and how the actor explores.

    Args:
        size: How much is searched.
        net_archs: Hidden layers by name, where they are not the usual ones.

    Returns:
        `policy_kwargs`, and `use_sde` with what belongs to it.
    """
    policy_kwargs: dict[str, Any] = {"activation_fn": sample_activation_fn(trial, size=size)}
    if is_at_least(size, "default"):
        layers = sample_net_arch(trial, net_archs or _usual_net_archs(context, size))
        policy_kwargs["net_arch"] = {"pi": layers, "vf": list(layers)}
    kwargs: dict[str, Any] = {}
    if is_at_least(size, "full"):
        policy_kwargs["ortho_init"] = trial.suggest_categorical("ortho_init", [True, False])
        if box_action_shape(context) is not None:  # discrete policies have no standard deviation
            # Zoo YAML has -3.3 to -1, SB3's default is 0.
            policy_kwargs["log_std_init"] = trial.suggest_float("log_std_init", -4.0, 0.5)
            kwargs = _sample_sde(trial, policy_kwargs)
    return {**kwargs, "policy_kwargs": policy_kwargs}


def _usual_net_archs(context: SpaceContext, size: Size) -> dict[str, list[int]]:
    net_archs = _FULL_NET_ARCHS if is_at_least(size, "full") else _NET_ARCHS
    # SB3's own choice behind its CNN is no hidden layer at all.
    return {"linear": [], **net_archs} if has_images(context) else net_archs


def _sample_ent_coef(trial: TrialLike) -> float:
    """Sample the entropy coefficient; below 1e-7 it is exactly 0."""
    # Zoo's range; most of its tuned configurations use exactly 0, which the range cannot reach.
    ent_coef = trial.suggest_float("ent_coef", 1e-8, 0.1, log=True)
    if ent_coef < 1e-7:
        ent_coef = 0.0
    trial.set_user_attr("ent_coef", ent_coef)
    return ent_coef


def _sample_sde(trial: TrialLike, policy_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Sample state-dependent exploration, which SB3 accepts for Box actions only."""
    kwargs = {"use_sde": trial.suggest_categorical("use_sde", [False, True])}
    if kwargs["use_sde"]:
        # -1 draws a new noise matrix at the start of a rollout only; the others are Zoo YAML.
        frequency = trial.suggest_categorical("sde_sample_freq", [-1, 4, 8, 16, 64])
        kwargs["sde_sample_freq"] = frequency
        policy_kwargs["use_expln"] = trial.suggest_categorical("use_expln", [False, True])
    return kwargs
