"""Which search space: the shipped ones or the user's own, with the user's overrides applied."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from samplers import SEARCH_SPACES, SearchSpace, SpaceContext
from sb3_hpo.space_syntax.yaml_files import BASED_ON, SIZE, check_arguments
from sb3_hpo.spaces.bound_space import SIZES, BoundSpace
from sb3_hpo.spaces.dimensions import dimension_named
from sb3_hpo.spaces.file_space import file_space
from sb3_hpo.spaces.overrides.changes import changes_of_file, changes_of_options
from sb3_hpo.spaces.overrides.resolve import OverriddenSpace, resolve_overrides
from sb3_hpo.spaces.points import discover_ranges, nearest_point
from sb3_hpo.utils.errors import UserError, unknown_name
from sb3_hpo.utils.import_strings import load_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.distributions import BaseDistribution

    from samplers import Dimension, Size
    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.config.training_config import TrainingConfig
    from sb3_hpo.envs.problem import Problem
    from sb3_hpo.spaces.overrides.changes import Change
    from sb3_hpo.spaces.overrides.trial_proxy import ResolvedOverrides, Sample


@dataclass(frozen=True)
class _Source:
    """A space as it comes, before overrides.

    Attributes:
        space: Its dimensions; of a function those that were seen.
        context: The problem.
        size: How much of it is searched.
        function: The user's function, which says nothing of itself; its name.
        changes: Overrides that come with it.
        is_edited: Whether all of it is the user's.
    """

    space: SearchSpace
    context: SpaceContext
    size: Size
    function: tuple[Sample, str] | None = None
    changes: Sequence[Change] = ()
    is_edited: bool = False

    @property
    def sample(self) -> Sample:
        """From a trial to keyword arguments."""
        if self.function is not None:
            return self.function[0]
        return partial(self.space.sample, context=self.context, size=self.size)

    @property
    def bare(self) -> tuple[Sample, ...]:
        """The same space without a context, in each size; none of a function."""
        if self.function is not None or self.is_edited:
            return ()
        return tuple(partial(self.space.sample, size=size) for size in SIZES)

    def dimensions(self, size: Size) -> dict[str, Dimension]:
        """Return the dimensions of a size by name."""
        found = self.space.dimensions_for(self.context, size)
        return {item.name: item for item in found}

    def ranges(
        self, sample: Sample, done: Sequence[ResolvedOverrides]
    ) -> dict[str, BaseDistribution]:
        """Return what may be drawn after some overrides.

        Args:
            sample: With these overrides.
            done: The overrides.
        """
        if self.function is not None:
            return discover_ranges(sample, self.function[1])
        held = {name: value for item in done for name, value in item.answers.items()}
        changed = {name: value for item in done for name, value in item.changed.items()}
        return self.space.distributions(self.context, self.size, held, changed)


def bind_space(config: StudyConfig, problem: Problem) -> BoundSpace:
    """Make the configured search space valid for the configured problem.

    Args:
        problem: What the agent faces.

    Raises:
        UserError: The budget is too short for the space, an overridden name or value does not
            exist, or the user's function does not return keyword arguments.
    """
    source = _find_source(config, problem)
    declared, largest = source.dimensions(source.size), source.dimensions("full")
    sample: Sample = source.sample
    done: list[ResolvedOverrides] = []
    own = ranges = source.ranges(sample, done)
    for changes, place in ((source.changes, "space"), (changes_of_options(config), "")):
        left = {name: item for name, item in declared.items() if name in ranges}
        space = OverriddenSpace(config, left, ranges, largest)
        done.append(resolve_overrides(changes, space, place))
        sample = partial(done[-1].apply, sample)
        ranges = source.ranges(sample, done)
    firsts: list[dict[str, Any]] = []
    for point in source.space.first_points:
        near = nearest_point(point, ranges)
        if near not in firsts:  # what tells them apart may be fixed
            firsts.append(near)
    edited = {name for item in done for name in item.changed if ranges.get(name) != own[name]}
    return BoundSpace(
        sample,
        ranges,
        config,
        problem.action_space,
        source.space,
        source.context,
        nearest_point(source.space.default_params, ranges),
        tuple(firsts),
        frozenset(ranges if source.is_edited else edited & ranges.keys()),
        source.bare,
    )


def context_of(config: TrainingConfig, problem: Problem) -> SpaceContext:
    """Return what a search space may know of its problem.

    Args:
        config: What one training run is.
        problem: What the agent faces.
    """
    return SpaceContext(
        n_envs=config.n_envs,
        n_timesteps=config.n_timesteps,
        n_evaluations=config.n_evaluations,
        action_space=problem.action_space,
        observation_space=problem.observation_space,
        goal_env=problem.has_goals,
        her=config.her,
        longest_episode=problem.longest_episode,
    )


def _find_source(config: StudyConfig, problem: Problem) -> _Source:
    context, size = context_of(config, problem), config.space_size
    if isinstance(config.space, str):
        found = _load_space(config.space)
        if isinstance(found, SearchSpace):
            _check_budget(config, found.min_rollout)
            return _Source(found, context, size)
        _check_budget(config, 1)
        sample = _with_context(found, context, size)
        seen = discover_ranges(sample, config.space)
        table = SearchSpace(
            *(dimension_named(name, asked) for name, asked in seen.items()),
            algorithm=config.algo,
            min_rollout=1,
        )
        return _Source(table, context, size, (sample, config.space))
    names = dict(config.space or {})
    base, size = names.pop(BASED_ON, None), names.pop(SIZE, size)
    if config.space is not None and base is None:
        _check_budget(config, 1)
        check_arguments(names, "space: ", config.algo, config.policy)
        table = file_space(names, config, problem.action_space)
        return _Source(table, context, size, is_edited=True)
    _check_base(base, size, config)
    shipped = SEARCH_SPACES[config.algo]
    _check_budget(config, shipped.min_rollout)
    source = _Source(shipped, context, size)
    if config.space is None:
        return source
    return replace(source, changes=changes_of_file(names, source.dimensions(size)))


def _check_base(base: Any, size: Any, config: StudyConfig) -> None:
    if base is not None and base != config.algo:
        raise UserError(
            f"space: {BASED_ON}: must be the study's algorithm {config.algo!r}, but got {base!r}"
        )
    if size not in SIZES:
        raise UserError(f"space: {SIZE}: {unknown_name('size', str(size), SIZES)}")


def _load_space(name: str) -> Any:
    """Import a function or a `SearchSpace`."""
    try:
        function = load_reference(name)
    except UserError as error:
        raise UserError(f"space: {error}") from error
    if isinstance(function, SearchSpace):
        return function
    if isinstance(function, type) or not callable(function):
        kind = (
            "a class" if isinstance(function, type) else f"an object of {type(function).__name__}"
        )
        raise UserError(
            f"space: {name} must be a function from a trial to a dict of keyword arguments, or a "
            f"SearchSpace, but is {kind}"
        )
    return function


def _check_budget(config: StudyConfig, min_rollout: int) -> None:
    needed = config.n_evaluations * min_rollout * config.n_envs
    if config.n_timesteps < needed:
        raise UserError(
            "n_timesteps: `n_timesteps >= n_evaluations * smallest rollout` must hold, but got "
            f"{config.n_timesteps} < {config.n_evaluations} * {min_rollout * config.n_envs} "
            f"= {needed}; train longer, evaluate less often or use fewer environments"
        )


def _with_context(function: Any, context: SpaceContext, size: str) -> Sample:
    """Pass the context and the size on to functions that take them."""
    parameters = inspect.signature(function).parameters
    offered = {"context": context, "size": size}
    taken = {name: value for name, value in offered.items() if name in parameters}
    return lambda trial: function(trial, **taken)
