"""Search space of ARS (augmented random search)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from samplers._dimensions import Choice, Float, Int, is_number
from samplers._shared import SpaceContext, is_at_least, max_rollout_steps
from samplers._space import NET_ARCH, Finish, SearchSpace
from samplers.schedules import Schedules, learning_rate_schedule

if TYPE_CHECKING:
    from samplers._shared import Size, TrialLike
    from samplers._space import Values

_MIN_ROLLOUT = 2  # an episode of one step for each of two candidates
_NET_ARCHS = {"linear": [], "tiny": [16], "small": [64, 64]}
_FULL_NET_ARCHS = {**_NET_ARCHS, "narrow": [16, 16], "wide": [64]}
_USUAL_LONGEST_EPISODE = 1000  # most time limits of registered environments


def _net_archs(_context: SpaceContext, size: Size) -> dict[str, list[int]]:
    return _FULL_NET_ARCHS if is_at_least(size, "full") else _NET_ARCHS


def _most_directions(context: SpaceContext, _size: Size = "small") -> int:
    """Return how many pairs of longest episodes fit between two evaluations."""
    longest_episode = context.longest_episode or _USUAL_LONGEST_EPISODE
    n_steps = max_rollout_steps(context, minimum=_MIN_ROLLOUT)
    return max(1, min(256, n_steps // (2 * longest_episode)))  # Zoo YAML: up to 256


def _has_population(context: SpaceContext) -> bool:
    return _most_directions(context) > 1


class _Population(Finish):
    """Follows the best part of the directions; without layers, as the paper's linear policy."""

    def do(self, values: Values, _context: SpaceContext, _size: Size) -> dict[str, Any]:
        """Turn the best part into a number of directions, at least one."""
        if values.get(NET_ARCH) == []:  # as in "LinearPolicy"
            values |= {"policy_kwargs.with_bias": False, "policy_kwargs.squash_output": False}
        if "n_delta" not in values:
            values |= {"n_delta": 1, "n_top": 1}
            return {}
        # The tolerance is for fractions such as 0.07, of which a hundred are a little more than 7.
        n_top = max(1, math.ceil(values.pop("top_fraction") * values["n_delta"] - 1e-9))
        values["n_top"] = n_top
        return {"n_top": n_top}

    def undo(self, values: Values, _context: SpaceContext) -> None:
        """Say which part of the directions is followed."""
        n_delta = values.get("n_delta", 8)
        n_top = values.get("n_top") or n_delta
        if is_number(n_delta) and is_number(n_top) and n_delta > 0:
            values["top_fraction"] = n_top / n_delta


SPACE = SearchSpace(
    Float("learning_rate", 5e-3, 0.1, log=True, default=0.02, since="small",
          source="Zoo's misses the default and all its tuned configurations (0.01 to 0.03)"),
    learning_rate_schedule(),
    Float("delta_std", 5e-3, 0.3, log=True, default=0.05, since="small",
          source="Zoo YAML: 0.0075"),
    Int("n_delta", 1, _most_directions, log=True, default=8, since="small",
        exists=_has_population, source="pairs of episodes between two evaluations; Zoo YAML: 256"),
    Float("top_fraction", 0.01, 1.0, together=("n_top",), default=1.0, since="small",
          exists=_has_population),
    Choice("zero_policy", (True, False), default=True, source="Zoo"),
    Choice("net_arch", _net_archs, argument=NET_ARCH, default="small",
           source="Zoo YAML: linear policies, one layer of 16 and two layers of 64"),
    Float("alive_bonus", 0.003, 10.0, log=True, argument="alive_bonus_offset",
          together=("alive_bonus_offset",), default=0.005,
          to=lambda drawn: 0.0 if drawn < 0.01 else -drawn,
          back=lambda value: -value if is_number(value) else None,
          since="full",
          source="Zoo YAML: 0.1 to 5; below 0.01 it is exactly 0"),
    algorithm="ARS",
    min_rollout=_MIN_ROLLOUT,
    finish=(Schedules(), _Population()),
)  # fmt: skip
"""Its default point is that of `ARS("MlpPolicy", env)`, a network of two layers of 64."""


def sample_ars_params(
    trial: TrialLike, *, context: SpaceContext | None = None, size: Size = "default"
) -> dict[str, Any]:
    """Sample ARS's keyword arguments, for the policy "MlpPolicy".

    ARS has no rollouts of a fixed length: an iteration plays one whole episode with each of
    2 * n_delta candidates. The rule that a rollout must fit between two evaluations bounds
    n_delta by the longest episode (1,000 steps where the context does not know it), but cannot
    bound it below 1: one pair of long episodes may take more than a budget leaves between two
    evaluations. The update at the end of an iteration is the only one, so that updates per step
    are no concern.

    The best `top_fraction` of the n_delta directions makes the update, so that n_top is between
    1 and n_delta. n_eval_episodes stays 1: more episodes per candidate cost what more directions
    cost, and tell less.

    Args:
        context: The problem; without it, `SpaceContext()`.
        size: "small" has four dimensions: learning_rate, delta_std, n_delta, top_fraction.

    Returns:
        Keyword arguments for `sb3_contrib.ARS`.
    """
    return SPACE.sample(trial, context=context, size=size)
