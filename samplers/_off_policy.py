"""What the off-policy spaces share: discount, updates, replay, networks, action noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._replay_buffer import (
    MIN_ROLLOUT,
    REPLAY_DEFAULT_PARAMS,
    ReplayRanges,
    sample_replay,
    sample_update_schedule,
)
from samplers._shared import (
    box_action_shape,
    is_at_least,
    sample_activation_fn,
    sample_gamma,
    sample_net_arch,
)
from samplers.schedules import sample_learning_rate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stable_baselines3.common.noise import ActionNoise

    from samplers._shared import Size, SpaceContext, TrialLike

__all__ = [
    "CONTINUOUS_DEFAULT_PARAMS",
    "CONTINUOUS_RANGES",
    "MIN_ROLLOUT",
    "OFF_POLICY_DEFAULT_PARAMS",
    "sample_deterministic_actor_params",
    "sample_net_archs",
    "sample_off_policy_params",
    "sample_tau",
]

# Zoo's names; the deeper ones are for relabelled goals there.
_NET_ARCHS = {"small": [64, 64], "medium": [256, 256], "big": [400, 300]}
_FULL_NET_ARCHS = {**_NET_ARCHS, "large": [256, 256, 256], "verybig": [512, 512, 512]}

# Zoo YAML has train_freq 32 and 64 and batches of 64 to 2048. Four updates per environment step
# is four times SB3's default.
CONTINUOUS_RANGES = ReplayRanges(
    train_freq=1,
    max_train_freq_pow=6,
    update_to_data_pow=(-2, 2),
    batch_size=256,
    batch_size_pow=(5, 10),
)

OFF_POLICY_DEFAULT_PARAMS: dict[str, float | int | str] = {
    **REPLAY_DEFAULT_PARAMS,
    "one_minus_gamma": 0.01,
    "learning_rate_schedule": "constant",
    "activation_fn": "relu",
}
"""SB3's defaults of the dimensions in which all off-policy algorithms agree."""

CONTINUOUS_DEFAULT_PARAMS: dict[str, float | int | str] = {
    **OFF_POLICY_DEFAULT_PARAMS,
    "train_freq_pow": 0,
    "update_to_data_pow": 0,
    "batch_size_pow": 8,
}
"""SB3's defaults of the dimensions in which all algorithms for continuous actions agree."""


def sample_off_policy_params(
    trial: TrialLike, *, context: SpaceContext, size: Size, ranges: ReplayRanges
) -> dict[str, Any]:
    """Sample the keyword arguments that all off-policy algorithms have in common.

    Args:
        size: How much is searched.
        ranges: The ranges in which the algorithms differ.

    Returns:
        Constructor keyword arguments; `policy_kwargs` is empty unless the size is "full".
    """
    # Zoo's lowest gamma is 0.97; its tuned configurations use 0.95, those with relabelled goals
    # 0.95 to 0.99: a goal is reached within tens of steps.
    lowest = 5e-3 if context.her else 1e-4
    kwargs: dict[str, Any] = {"gamma": sample_gamma(trial, lowest=lowest, highest=0.1)}
    kwargs |= sample_update_schedule(trial, context=context, size=size, ranges=ranges)
    kwargs |= sample_replay(trial, context=context, size=size, ranges=ranges)
    policy_kwargs: dict[str, Any] = {}
    if is_at_least(size, "full"):
        policy_kwargs["activation_fn"] = sample_activation_fn(trial, size=size)
    return {**kwargs, "policy_kwargs": policy_kwargs}


def sample_net_archs(
    trial: TrialLike,
    *,
    context: SpaceContext,
    size: Size,
    more: Mapping[str, list[int]] | None = None,
) -> dict[str, list[int]]:
    """Sample the hidden layers; in the full space and with relabelled goals also deeper ones.

    Args:
        size: How much is searched.
        more: Hidden layers by name, beside the usual ones.

    Returns:
        `net_arch` for `policy_kwargs`, or nothing in the small space.
    """
    if not is_at_least(size, "default"):
        return {}
    deep = is_at_least(size, "full") or context.her
    net_archs = {**(more or {}), **(_FULL_NET_ARCHS if deep else _NET_ARCHS)}
    return {"net_arch": sample_net_arch(trial, net_archs)}


def sample_tau(trial: TrialLike) -> float:
    """Sample the speed of the target network (Zoo's range)."""
    return trial.suggest_float("tau", 1e-3, 0.08, log=True)


def sample_deterministic_actor_params(
    trial: TrialLike, *, context: SpaceContext, size: Size
) -> dict[str, Any]:
    """Sample the keyword arguments that TD3 and DDPG have in common.

    Args:
        size: How much is searched.

    Returns:
        Constructor keyword arguments.
    """
    # Zoo YAML has 7e-4 and 1e-3; far higher rates end in NaN weights without an error.
    kwargs: dict[str, Any] = {"learning_rate": sample_learning_rate(trial, 1e-4, 3e-3, size=size)}
    if is_at_least(size, "default"):
        kwargs["tau"] = sample_tau(trial)
    shape = box_action_shape(context)
    if shape is not None:
        kwargs["action_noise"] = _sample_action_noise(trial, shape)
    kwargs |= sample_off_policy_params(trial, context=context, size=size, ranges=CONTINUOUS_RANGES)
    kwargs["policy_kwargs"] |= sample_net_archs(trial, context=context, size=size)
    return kwargs


def _sample_action_noise(trial: TrialLike, shape: tuple[int, ...]) -> ActionNoise | None:
    """Sample SB3's action noise object of the shape of the actions, or None."""
    import numpy as np
    from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise

    noise_type: str = trial.suggest_categorical("noise_type", ["none", "normal", "ou"])
    if noise_type == "none":
        return None
    # Zoo's 0 to 0.5; actions are scaled to [-1, 1] where SB3 adds the noise.
    noise_std = trial.suggest_float("noise_std", 0.01, 0.5, log=True)
    mean, sigma = np.zeros(shape), np.full(shape, noise_std)
    if noise_type == "ou":
        return OrnsteinUhlenbeckActionNoise(mean=mean, sigma=sigma)
    return NormalActionNoise(mean=mean, sigma=sigma)
