"""A search space bound to a problem."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from samplers import Size
from sb3_hpo.spaces.points import nearest_point

if TYPE_CHECKING:
    from collections.abc import Mapping

    import gymnasium as gym
    from optuna.distributions import BaseDistribution

    from samplers import Dimension, SearchSpace, SpaceContext
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
        bare: The space as a script calls it that knows no context, in each size.
        edited: Dimensions whose values the user has chosen, so that nobody has tried them yet.
        config: The configuration it is bound to.
        action_space: Of the environment.
        table: What the dimensions decide; of a function, as far as their names say.
        context: The problem.
    """

    sample: Sample
    dimensions: dict[str, BaseDistribution]
    config: StudyConfig
    action_space: gym.Space[Any]
    table: SearchSpace
    context: SpaceContext
    default_params: dict[str, Any] = field(default_factory=dict)
    first_points: tuple[dict[str, Any], ...] = ()
    edited: frozenset[str] = frozenset()
    bare: tuple[Sample, ...] = ()

    @property
    def declared(self) -> dict[str, Dimension]:
        """What each dimension is, by name."""
        found = self.table.dimensions_for(self.context, "full")
        return {item.name: item for item in found if item.name in self.dimensions}

    def params_of(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the point whose arguments are next to given ones.

        Args:
            kwargs: Keyword arguments; what they lack has SB3's default.

        Returns:
            Parameters by dimension; what nobody knows is left out, for the sampler to draw.
        """
        return nearest_point(self.table.params_of(kwargs, context=self.context), self.dimensions)
