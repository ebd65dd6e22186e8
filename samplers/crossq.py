"""Search space of CrossQ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._dimensions import Choice, Float, Int, PowerOfTwo
from samplers._off_policy import CONTINUOUS_REPLAY, off_policy_dimensions
from samplers._replay_buffer import MIN_ROLLOUT
from samplers._shared import is_at_least
from samplers._soft_actor import SOFT_ACTOR, Entropy
from samplers._space import NET_ARCH, Finish, SearchSpace
from samplers.schedules import Schedules, learning_rate_schedule

if TYPE_CHECKING:
    from samplers._shared import Size, SpaceContext, TrialLike
    from samplers._space import Values

_RENORM_WARMUP_STEPS = 100_000  # sb3-contrib's default


class _Networks(Finish):
    """Gives the critic layers of its own, and a warm-up that a short run gets through."""

    def do(self, values: Values, context: SpaceContext, _size: Size) -> dict[str, Any]:
        """Join the layers of actor and critic."""
        steps = max(1, min(_RENORM_WARMUP_STEPS, context.n_timesteps // 10))
        values["policy_kwargs.renorm_warmup_steps"] = steps
        width = values.pop("critic_width", None)
        if width is not None:
            values[NET_ARCH] = {"pi": values[NET_ARCH], "qf": [width, width]}
        return {"renorm_warmup_steps": steps}

    def undo(self, values: Values, _context: SpaceContext) -> None:
        """Take the layers apart."""
        layers = values.get(NET_ARCH)
        if isinstance(layers, dict) and layers.get("pi") and layers.get("qf"):
            values[NET_ARCH], (values["critic_width"], *_) = layers["pi"], layers["qf"]


SPACE = SearchSpace(
    Float("learning_rate", 2e-4, 3e-3, log=True, default=1e-3, since="small",
          source="Zoo YAML: 7e-4 and 1e-3"),
    learning_rate_schedule(),
    Int("policy_delay", 1, 4, default=3, since="small", source="Zoo YAML: 2 and 3"),
    *off_policy_dimensions(CONTINUOUS_REPLAY),
    Choice("net_arch", {"small": [64, 64], "medium": [256, 256]},
           argument=NET_ARCH, default="medium", source="the actor's"),
    PowerOfTwo("critic_width_pow", lambda _, size: 6 if is_at_least(size, "full") else 8,
               lambda _, size: 11 if is_at_least(size, "full") else 10,
               argument="critic_width", together=("net_arch",), default=10,
               source="of two layers; the paper: 2048, on a CPU several times slower than 1024; "
               "Zoo YAML: 64 to 2048"),
    Float("batch_norm_momentum", 1e-3, 0.1, log=True, argument="policy_kwargs.batch_norm_momentum",
          default=0.01, since="full"),
    *SOFT_ACTOR,
    algorithm="CrossQ",
    min_rollout=MIN_ROLLOUT,
    finish=(Schedules(), CONTINUOUS_REPLAY, _Networks(), Entropy()),
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
