"""Search space of TRPO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._dimensions import Float, Int, OneMinus, PowerOfTwo
from samplers._on_policy import ONE_MINUS_GAE_LAMBDA, POLICY, SharedLayers
from samplers._rollout import Rollout
from samplers._space import SearchSpace
from samplers.schedules import Schedules, learning_rate_schedule

if TYPE_CHECKING:
    from samplers._shared import Size, SpaceContext, TrialLike

# The Fisher matrix of the policy step wants more samples than PPO's gradients.
_ROLLOUT = Rollout(
    min_n_steps=8,
    max_n_steps_pow=12,
    min_samples=128,
    passes="n_critic_updates",
    default_passes=10,
    default_n_steps=2048,
    default_batch_size=128,
    default_updates_per_step=10 / 128,
)

SPACE = SearchSpace(
    Float("learning_rate", 1e-4, 5e-3, log=True, default=1e-3, since="small",
          source="Zoo YAML: 2.5e-4 and 1e-3"),
    learning_rate_schedule(),
    Float("target_kl", 1e-3, 0.1, log=True, default=0.01, since="small", source="Zoo"),
    OneMinus("one_minus_gamma", 1e-4, 0.2, argument="gamma", default=0.01, since="small",
             source="as PPO"),
    PowerOfTwo("n_steps_pow", _ROLLOUT.shortest_pow, _ROLLOUT.longest_pow, argument="n_steps",
               default=11, since="small", source="Zoo: 2^5 to 2^12"),
    PowerOfTwo("n_minibatches_pow", 0, _ROLLOUT.most_minibatches_pow, argument="n_minibatches",
               together=("batch_size",),
               default=4, source="as PPO"),
    Int("n_critic_updates", 5, 30, log=True, default=10, source="Zoo"),
    ONE_MINUS_GAE_LAMBDA,
    Int("cg_max_steps", 5, 30, default=15, source="Zoo"),
    Float("cg_damping", 1e-3, 0.5, log=True, default=0.1, since="full",
          source="Zoo YAML: 1e-3 to 0.1"),
    Float("line_search_shrinking_factor", 0.6, 0.9, default=0.8, since="full",
          source="a comment in Zoo"),
    *POLICY,
    algorithm="TRPO",
    min_rollout=_ROLLOUT.min_n_steps,
    finish=(Schedules(), _ROLLOUT, SharedLayers()),
)  # fmt: skip


def sample_trpo_params(
    trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
) -> dict[str, Any]:
    """Sample TRPO's keyword arguments.

    The policy makes one step per rollout, as long as `target_kl` permits; the learning rate, the
    minibatches and `n_critic_updates` are the critic's. They are bounded like PPO's minibatches
    and epochs: at most twice the critic updates per environment step of SB3's default, four
    times where the size is "full".

    Args:
        context: The problem; without it, `SpaceContext()`.
        size: "small" has five dimensions: learning_rate, one_minus_gamma, n_steps_pow,
            target_kl, activation_fn.

    Returns:
        Keyword arguments for `sb3_contrib.TRPO`.
    """
    return SPACE.sample(trial, context=context, size=size)
