"""Which search space: the shipped ones or the user's own, with the user's overrides applied."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from samplers import (
    SEARCH_SPACES,
    SpaceContext,
)
from sb3_hpo.space_syntax.yaml_files import BASED_ON, SIZE, check_arguments
from sb3_hpo.spaces.bound_space import SIZES, BoundSpace
from sb3_hpo.spaces.overrides.request import OverrideRequest, request_of_file, request_of_options
from sb3_hpo.spaces.overrides.resolve import OverrideContext, resolve_overrides
from sb3_hpo.spaces.points import discover_dimensions, nearest_point
from sb3_hpo.spaces.yaml_space import FileSpace
from sb3_hpo.utils.errors import UserError, unknown_name
from sb3_hpo.utils.import_strings import load_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from optuna.distributions import BaseDistribution

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.config.training_config import TrainingConfig
    from sb3_hpo.envs.problem import Problem
    from sb3_hpo.spaces.overrides.trial_proxy import ResolvedOverrides, Sample

    Dimensions = dict[str, BaseDistribution]


@dataclass(frozen=True)
class _Source:
    """A space as it comes, before overrides.

    Attributes:
        sample: From a trial to keyword arguments.
        name: What the user calls it.
        defaults: SB3's defaults in its dimensions; None if nobody knows.
        first_points: Points that learn fast.
        params_of: From keyword arguments to the point next to them.
        distributions: What it may suggest, with some dimensions held and others changed; None
            where it does not say so and has to be drawn from.
        all_names: Dimensions of the same space in its largest size.
        bare: The same space without a context, in each size.
        request: Overrides that come with it.
        is_edited: Whether all of it is the user's.
    """

    sample: Sample
    name: str
    defaults: Mapping[str, Any] | None = None
    first_points: tuple[Mapping[str, Any], ...] = ()
    params_of: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    distributions: Callable[..., dict[str, BaseDistribution]] | None = None
    all_names: tuple[str, ...] = ()
    bare: tuple[Sample, ...] = ()
    request: OverrideRequest | None = None
    is_edited: bool = False

    def dimensions(self, sample: Sample, done: Sequence[ResolvedOverrides] = ()) -> Dimensions:
        """Return what may be suggested after some overrides."""
        if self.distributions is None:
            return discover_dimensions(sample, self.name)
        held = {name: value for item in done for name, value in item.held.items()}
        changed = {name: value for item in done for name, value in item.changed.items()}
        return self.distributions(held=held, changed=changed)


def bind_space(config: StudyConfig, problem: Problem) -> BoundSpace:
    """Make the configured search space valid for the configured problem.

    Args:
        problem: What the agent faces.

    Raises:
        UserError: The budget is too short for the space, an overridden name or value does not
            exist, or the user's function does not return keyword arguments.
    """
    source = _find_source(config, problem)
    sample, defaults = source.sample, source.defaults or {}
    dimensions = source.dimensions(sample)
    all_overrides: list[ResolvedOverrides] = []
    for request in (source.request, request_of_options(config)):
        if request is not None:
            context = OverrideContext(config, dimensions, defaults, source.all_names)
            overrides = resolve_overrides(request, context)
            sample = partial(overrides.apply, sample)
            all_overrides.append(overrides)
            dimensions = source.dimensions(sample, all_overrides)
    firsts: list[dict[str, Any]] = []
    for point in source.first_points:
        nearest = nearest_point(point, dimensions)
        if nearest not in firsts:  # what tells them apart may be fixed
            firsts.append(nearest)
    edited = {name for item in all_overrides for name in item.changed} & set(dimensions)
    return BoundSpace(
        sample,
        dimensions,
        config,
        problem.action_space,
        nearest_point(defaults, dimensions),
        tuple(firsts),
        frozenset(dimensions if source.is_edited else edited),
        source.params_of,
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
    context = context_of(config, problem)
    if isinstance(config.space, str):
        _check_budget(config, 1)
        function = _load_space(config.space)
        return _Source(_with_context(function, context, config.space_size), config.space)
    names = dict(config.space or {})
    base, size = names.pop(BASED_ON, None), names.pop(SIZE, config.space_size)
    if config.space is not None and base is None:
        _check_budget(config, 1)
        check_arguments(names, "space: ", config.algo, config.policy)
        space = FileSpace(names, config, problem.action_space)
        return _Source(space, "space", space.default_params, is_edited=True)
    _check_base(base, size, config)
    shipped = SEARCH_SPACES[config.algo]
    _check_budget(config, shipped.min_rollout)
    sample = _with_context(shipped.sample, context, size)
    request = None
    if config.space is not None:
        request = request_of_file(names, shipped.distributions(context, size))
    return _Source(
        sample,
        config.algo,
        shipped.default_params,
        shipped.first_points,
        params_of=partial(shipped.params_of, context=context, size=size),
        distributions=partial(shipped.distributions, context, size),
        all_names=tuple(item.name for item in shipped.dimensions_for(context, "full")),
        bare=tuple(partial(shipped.sample, size=each) for each in SIZES),
        request=request,
    )


def _check_base(base: Any, size: Any, config: StudyConfig) -> None:
    if base is not None and base != config.algo:
        raise UserError(
            f"space: {BASED_ON}: must be the study's algorithm {config.algo!r}, but got {base!r}"
        )
    if size not in SIZES:
        raise UserError(f"space: {SIZE}: {unknown_name('size', str(size), SIZES)}")


def _load_space(name: str) -> Any:
    try:
        function = load_reference(name)
    except UserError as error:
        raise UserError(f"space: {error}") from error
    if isinstance(function, type) or not callable(function):
        kind = (
            "a class" if isinstance(function, type) else f"an object of {type(function).__name__}"
        )
        raise UserError(
            f"space: {name} must be a function from a trial to a dict of keyword arguments, but "
            f"is {kind}"
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
