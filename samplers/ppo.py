"""Search space of PPO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samplers._dimensions import Float, Int, PowerOfTwo
from samplers._on_policy import ACTOR_CRITIC, SharedLayers
from samplers._rollout import Rollout
from samplers._space import SearchSpace
from samplers.schedules import CLIP_RANGE_SCHEDULE, Schedules, learning_rate_schedule

if TYPE_CHECKING:
    from samplers._shared import Size, SpaceContext, TrialLike
    from samplers._space import Params

ROLLOUT = Rollout(
    min_n_steps=8,
    max_n_steps_pow=12,
    min_samples=32,
    passes="n_epochs",
    default_passes=10,
    default_n_steps=2048,
    default_batch_size=64,
    default_updates_per_step=10 / 64,
)

# SB3's default, but with rollouts that a short budget has many of (1,024 samples in eight
# environments) and a rate to match; gamma is the problem's own, so once far and once near.
# That the rate falls took ten seeds on Pendulum from -315 (worst -721) to -258 (-432), on Acrobot
# from -86 to -83, and left CartPole at 500.
_SHORT_ROLLOUTS: Params = {
    "learning_rate": 1e-3,
    "learning_rate_schedule": "linear",
    "n_steps_pow": 7,
    "n_minibatches_pow": 4,
    "activation_fn": "relu",
}
FIRST_POINTS: tuple[Params, ...] = (
    {**_SHORT_ROLLOUTS, "one_minus_gamma": 0.01},
    {**_SHORT_ROLLOUTS, "one_minus_gamma": 0.1},
)

# Whether the learning rate falls decides whether the last policy of a run is as good as the run:
# three tuned configurations on Pendulum, 40,000 steps, had -466, -529 and -864 on the worst of ten
# seeds, and with twice the rate falling linearly -223, -220 and -391; their interquartile means
# rose from -236, -218 and -229 to -193, -205 and -187.
SPACE = SearchSpace(
    Float("learning_rate", 1e-5, 3e-3, log=True, default=3e-4, since="small",
          source="Zoo: 1e-5 to 2e-3, a little wider"),
    learning_rate_schedule("default", source="it decides the worst seed; Zoo: lin_"),
    PowerOfTwo("n_steps_pow", ROLLOUT.shortest_pow, ROLLOUT.longest_pow, argument="n_steps",
               default=11, since="small", source="Zoo: 2^5 to 2^12"),
    PowerOfTwo("n_minibatches_pow", 0, ROLLOUT.most_minibatches_pow, argument="n_minibatches",
               together=("batch_size",), default=5, since="small",
               source="Zoo YAML: batches of 64 in 2^15 samples"),
    Int("n_epochs", 1, 20, log=True, default=10, source="Zoo: 1, 5, 10 and 20"),
    Float("clip_range", 0.1, 0.4, default=0.2, source="Zoo"),
    CLIP_RANGE_SCHEDULE,
    Float("target_kl_or_none", 0.005, 0.2, log=True, argument="target_kl",
          together=("target_kl",), default=0.2,
          to=lambda drawn: None if drawn > 0.1 else drawn, back=lambda value: value or 0.2,
          since="full",
          source="above 0.1 there is none, SB3's default"),
    *ACTOR_CRITIC,
    algorithm="PPO",
    min_rollout=ROLLOUT.min_n_steps,
    finish=(Schedules(), ROLLOUT, SharedLayers()),
    first_points=FIRST_POINTS,
)  # fmt: skip


def sample_ppo_params(
    trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
) -> dict[str, Any]:
    """Sample PPO's keyword arguments.

    The rollout is a power of two per environment (`n_steps_pow`), split into a number of
    minibatches (`n_minibatches_pow`), so that the batch size always divides the rollout. The
    number of minibatches, then of epochs, is lowered where the two would make batches below 16
    samples or more updates per step than twice SB3's default (four times where the size is
    "full"). What was used is noted as user attributes `n_steps`, `n_minibatches`, `batch_size`
    and `n_epochs`.

    Args:
        context: The problem; without it, `SpaceContext()`.
        size: "small" has five dimensions: learning_rate, one_minus_gamma, n_steps_pow,
            n_minibatches_pow, activation_fn.

    Returns:
        Keyword arguments for `stable_baselines3.PPO`.
    """
    return SPACE.sample(trial, context=context, size=size)
