"""Search space of CrossQ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._off_policy import CONTINUOUS_RANGES, MIN_ROLLOUT, sample_off_policy_params
from samplers._shared import (
    SpaceContext,
    is_at_least,
    power_of_two,
    refuse_her,
    sample_net_arch,
)
from samplers._soft_actor import SOFT_ACTOR_DEFAULT_PARAMS, add_soft_actor_params
from samplers.schedules import sample_learning_rate

if TYPE_CHECKING:
    from samplers._shared import Size, TrialLike

__all__ = ["DEFAULT_PARAMS", "MIN_ROLLOUT", "sample_crossq_params"]

DEFAULT_PARAMS: dict[str, float | int | str] = {
    **SOFT_ACTOR_DEFAULT_PARAMS,
    "learning_rate": 1e-3,
    "policy_delay": 3,
    "net_arch": "medium",
    "critic_width_pow": 10,
    "batch_norm_momentum": 0.01,
}
"""The point of the full space that stands for sb3-contrib's constructor defaults."""

_ACTOR_NET_ARCHS = {"small": [64, 64], "medium": [256, 256]}
# Exponents of the widths of the critic's two layers. The paper has 2048 and Zoo YAML 64 to 2048;
# on a CPU, 2048 is several times slower than 1024.
_CRITIC_WIDTH_POWS = {"default": (8, 10), "full": (6, 11)}
_RENORM_WARMUP_STEPS = 100_000  # sb3-contrib's default


def sample_crossq_params(
    trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
) -> dict[str, Any]:
    """Sample CrossQ's keyword arguments.

    Instead of target networks, of which there are none, CrossQ has batch normalisation. The
    updates after which it trusts its running statistics are not sampled: sb3-contrib's 100,000,
    but at most a tenth of the budget, or a short run would never get there.

    Args:
        context: The problem; without it, `SpaceContext()`, that is an unknown action space and
            no state-dependent exploration.
        size: "small" has four dimensions: learning_rate, one_minus_gamma, update_to_data_pow,
            policy_delay.

    Returns:
        Keyword arguments for `sb3_contrib.CrossQ`.
    """
    context = context or SpaceContext()
    refuse_her(context, "CrossQ")
    kwargs: dict[str, Any] = {
        # Zoo YAML has 7e-4 and 1e-3.
        "learning_rate": sample_learning_rate(trial, 2e-4, 3e-3, size=size),
        "policy_delay": trial.suggest_int("policy_delay", 1, 4),  # Zoo YAML: 2 and 3
    }
    kwargs |= sample_off_policy_params(trial, context=context, size=size, ranges=CONTINUOUS_RANGES)
    kwargs["policy_kwargs"] |= _sample_networks(trial, context, size)
    add_soft_actor_params(trial, kwargs, context=context, size=size)
    return kwargs


def _sample_networks(trial: TrialLike, context: SpaceContext, size: Size) -> dict[str, Any]:
    """Sample the networks, of which the critic's are the wider ones."""
    renorm_warmup_steps = max(1, min(_RENORM_WARMUP_STEPS, context.n_timesteps // 10))
    trial.set_user_attr("renorm_warmup_steps", renorm_warmup_steps)
    policy_kwargs: dict[str, Any] = {"renorm_warmup_steps": renorm_warmup_steps}
    if is_at_least(size, "default"):
        actor = sample_net_arch(trial, _ACTOR_NET_ARCHS)
        pows = _CRITIC_WIDTH_POWS["full" if is_at_least(size, "full") else "default"]
        width = power_of_two(trial.suggest_int("critic_width_pow", *pows))
        trial.set_user_attr("critic_width", width)
        policy_kwargs["net_arch"] = {"pi": actor, "qf": [width, width]}
    if is_at_least(size, "full"):
        policy_kwargs["batch_norm_momentum"] = trial.suggest_float(
            "batch_norm_momentum", 1e-3, 0.1, log=True
        )
    return policy_kwargs
