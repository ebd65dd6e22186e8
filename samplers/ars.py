"""Search space of ARS (augmented random search)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from samplers._shared import (
    SpaceContext,
    is_at_least,
    max_rollout_steps,
    refuse_her,
    sample_net_arch,
)
from samplers.schedules import sample_learning_rate

if TYPE_CHECKING:
    from samplers._shared import Size, TrialLike

MIN_ROLLOUT = 2
"""Steps of the shortest iteration: an episode of one step for each of two candidates."""

DEFAULT_PARAMS: dict[str, float | int | str] = {
    "learning_rate": 0.02,
    "learning_rate_schedule": "constant",
    "delta_std": 0.05,
    "n_delta": 8,
    "top_fraction": 1.0,
    "net_arch": "small",
    "zero_policy": True,
    "alive_bonus": 0.005,  # below the threshold: exactly 0
}
"""The point of the full space that stands for sb3-contrib's constructor defaults.

They are those of `ARS("MlpPolicy", env)`, a network of two layers of 64.
"""

# Zoo YAML has linear policies, one layer of 16 and two layers of 64.
_NET_ARCHS = {"linear": [], "tiny": [16], "small": [64, 64]}
_FULL_NET_ARCHS = {**_NET_ARCHS, "narrow": [16, 16], "wide": [64]}
_MAX_N_DELTA = 256  # Zoo YAML
_USUAL_LONGEST_EPISODE = 1000  # most time limits of registered environments
_MIN_ALIVE_BONUS = 0.01


def sample_ars_params(
    trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
) -> dict[str, Any]:
    """Sample ARS's keyword arguments, for the policy "MlpPolicy".

    ARS has no rollouts of a fixed length: an iteration plays one whole episode with each of
    2 * n_delta candidates. The rule that a rollout must fit between two evaluations bounds
    n_delta by the longest episode (1,000 steps where the context does not know it), but cannot
    bound it below 1: one pair of long episodes may take more than a budget leaves between two
    evaluations. MIN_ROLLOUT is the shortest iteration there is. The update at the end of an
    iteration is the only one, so that updates per step are no concern.

    The best `top_fraction` of the n_delta directions makes the update, so that n_top is between
    1 and n_delta. n_eval_episodes stays 1: more episodes per candidate cost what more directions
    cost, and tell less.

    Args:
        context: The problem; without it, `SpaceContext()`.
        size: "small" has four dimensions: learning_rate, delta_std, n_delta, top_fraction.

    Returns:
        Keyword arguments for `sb3_contrib.ARS`.
    """
    context = context or SpaceContext()
    refuse_her(context, "ARS")
    kwargs: dict[str, Any] = {
        # Zoo's range misses both the default and all its tuned configurations (0.01 to 0.03).
        "learning_rate": sample_learning_rate(trial, 5e-3, 0.1, size=size),
        "delta_std": trial.suggest_float("delta_std", 5e-3, 0.3, log=True),  # Zoo YAML: 0.0075
    }
    kwargs |= _sample_population(trial, context)
    if is_at_least(size, "default"):
        kwargs["zero_policy"] = trial.suggest_categorical("zero_policy", [True, False])
        net_archs = _FULL_NET_ARCHS if is_at_least(size, "full") else _NET_ARCHS
        layers = sample_net_arch(trial, net_archs)
        kwargs["policy_kwargs"] = {"net_arch": layers}
        if not layers:  # as in the paper, and in "LinearPolicy"
            kwargs["policy_kwargs"] |= {"with_bias": False, "squash_output": False}
    if is_at_least(size, "full"):
        kwargs["alive_bonus_offset"] = _sample_alive_bonus_offset(trial)
    return kwargs


def _sample_population(trial: TrialLike, context: SpaceContext) -> dict[str, int]:
    """Sample the number of directions and how many of them are followed."""
    longest_episode = context.longest_episode or _USUAL_LONGEST_EPISODE
    n_steps = max_rollout_steps(context, minimum=MIN_ROLLOUT)
    most = max(1, min(_MAX_N_DELTA, n_steps // (2 * longest_episode)))
    if most == 1:
        return {"n_delta": 1, "n_top": 1}
    n_delta = trial.suggest_int("n_delta", 1, most, log=True)
    top_fraction = trial.suggest_float("top_fraction", 0.01, 1.0)
    # The tolerance is for fractions such as 0.07, of which a hundred are a little more than 7.
    n_top = max(1, math.ceil(top_fraction * n_delta - 1e-9))
    trial.set_user_attr("n_top", n_top)
    return {"n_delta": n_delta, "n_top": n_top}


def _sample_alive_bonus_offset(trial: TrialLike) -> float:
    """Sample the reward for being alive that is taken back; below 0.01 it is exactly 0."""
    alive_bonus = trial.suggest_float("alive_bonus", 0.003, 10.0, log=True)  # Zoo YAML: 0.1 to 5
    offset = 0.0 if alive_bonus < _MIN_ALIVE_BONUS else -alive_bonus
    trial.set_user_attr("alive_bonus_offset", offset)
    return offset
