"""A search space bound to a problem."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from samplers import (
    Size,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import gymnasium as gym
    from optuna.distributions import BaseDistribution

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.spaces.overrides.trial_proxy import Sample


SIZES: tuple[Size, ...] = get_args(Size)


@dataclass(frozen=True)
class BoundSpace:
    """A search space for one problem, with the user's overrides.

    Attributes:
        sample: From a trial to keyword arguments of the algorithm.
        dimensions: What it may suggest, by name.
        default_params: The point of the space next to SB3's defaults; empty for a user's function.
        first_points: Points to be tried after that one; none for a user's space.
        params_of: From keyword arguments to the point next to them; None where the space does not
            say what its dimensions decide.
        bare: The space as a script calls it that knows no context, in each size.
        edited: Dimensions whose values the user has chosen, so that nobody has tried them yet.
        config: The configuration it is bound to.
        action_space: Of the environment.
    """

    sample: Sample
    dimensions: dict[str, BaseDistribution]
    config: StudyConfig
    action_space: gym.Space[Any]
    default_params: dict[str, Any] = field(default_factory=dict)
    first_points: tuple[dict[str, Any], ...] = ()
    edited: frozenset[str] = frozenset()
    params_of: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    bare: tuple[Sample, ...] = ()
