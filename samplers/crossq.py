"""Search space of CrossQ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._off_policy import CONTINUOUS_REPLAY, off_policy_dimensions
from samplers._replay_buffer import MIN_ROLLOUT
from samplers._shared import is_at_least
from samplers._soft_actor import SOFT_ACTOR, choose_entropy
from samplers._space import Choice, Float, Int, PowerOfTwo, SearchSpace
from samplers.schedules import apply_schedules, learning_rate_schedule

if TYPE_CHECKING:
    from samplers._shared import Size, SpaceContext, TrialLike
    from samplers._space import Values

_RENORM_WARMUP_STEPS = 100_000  # sb3-contrib's default


def _join_networks(values: Values, context: SpaceContext, _size: Size) -> dict[str, Any]:
    """Finish the space: networks of two widths, and a warm-up that a short run gets through."""
    steps = max(1, min(_RENORM_WARMUP_STEPS, context.n_timesteps // 10))
    values["policy_kwargs.renorm_warmup_steps"] = steps
    width = values.pop("critic_width", None)
    if width is not None:
        layers = values["policy_kwargs.net_arch"]
        values["policy_kwargs.net_arch"] = {"pi": layers, "qf": [width, width]}
    return {"renorm_warmup_steps": steps}


SPACE = SearchSpace(
    Float("learning_rate", 2e-4, 3e-3, log=True, default=1e-3, since="small",
          source="Zoo YAML: 7e-4 and 1e-3"),
    learning_rate_schedule(),
    Int("policy_delay", 1, 4, default=3, since="small", source="Zoo YAML: 2 and 3"),
    *off_policy_dimensions(CONTINUOUS_REPLAY),
    Choice("net_arch", {"small": [64, 64], "medium": [256, 256]},
           argument="policy_kwargs.net_arch", default="medium", source="the actor's"),
    PowerOfTwo("critic_width_pow", lambda _, size: 6 if is_at_least(size, "full") else 8,
               lambda _, size: 11 if is_at_least(size, "full") else 10,
               argument="critic_width", default=10,
               source="of two layers; the paper: 2048, on a CPU several times slower than 1024; "
               "Zoo YAML: 64 to 2048"),
    Float("batch_norm_momentum", 1e-3, 0.1, log=True, argument="policy_kwargs.batch_norm_momentum",
          default=0.01, since="full"),
    *SOFT_ACTOR,
    algorithm="CrossQ",
    min_rollout=MIN_ROLLOUT,
    finish=(apply_schedules, CONTINUOUS_REPLAY.fit_updates, CONTINUOUS_REPLAY.fit_buffer,
            _join_networks, choose_entropy),
)  # fmt: skip


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
    return SPACE.sample(trial, context=context, size=size)
