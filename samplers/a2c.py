"""Search space of A2C."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from samplers._dimensions import Choice, Float, Int
from samplers._on_policy import ACTOR_CRITIC, ONE_MINUS_GAE_LAMBDA, SharedLayers
from samplers._shared import max_rollout_steps
from samplers._space import SearchSpace
from samplers.schedules import Schedules, learning_rate_schedule

if TYPE_CHECKING:
    from samplers._shared import Size, SpaceContext, TrialLike

_MIN_N_STEPS = 4  # a rollout of a single sample would make a normalised advantage NaN


def _max_n_steps(context: SpaceContext, _size: Size) -> int:
    return min(256, max_rollout_steps(context, minimum=_MIN_N_STEPS))


SPACE = SearchSpace(
    Float("learning_rate", 1e-5, 5e-3, log=True, default=7e-4, since="small",
          source="Zoo: 1e-5 to 2e-3; wider, as A2C's default is already above PPO's"),
    learning_rate_schedule("default", source="all ten rates that Zoo's authors have tuned fall"),
    Int("n_steps", _MIN_N_STEPS, _max_n_steps, log=True, default=5, since="small",
        source="Zoo: 32 to 2048, but its tuned configurations use 5, 8 and 100"),
    Choice("use_rms_prop", (True, False), default=True, since="full",
           source="RMSprop is the default and Zoo YAML's choice; otherwise Adam"),
    Choice("normalize_advantage", (False, True), default=False, since="full", source="Zoo"),
    *ACTOR_CRITIC,
    algorithm="A2C",
    min_rollout=_MIN_N_STEPS,
    finish=(Schedules(), SharedLayers()),
).changed(replace(ONE_MINUS_GAE_LAMBDA, default=5e-4))  # fmt: skip


def sample_a2c_params(
    trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
) -> dict[str, Any]:
    """Sample A2C's keyword arguments.

    A2C makes one update per rollout. With rollouts of at least four steps that is at most 0.25
    updates per environment step, against 0.2 with SB3's default.

    Args:
        context: The problem; without it, `SpaceContext()`.
        size: "small" has four dimensions: learning_rate, one_minus_gamma, n_steps,
            activation_fn.

    Returns:
        Keyword arguments for `stable_baselines3.A2C`.
    """
    return SPACE.sample(trial, context=context, size=size)
