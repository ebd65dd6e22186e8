"""Which search space: the shipped ones or the user's own, with the user's overrides applied."""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import optuna

from samplers import (
    SEARCH_SPACES,
    Size,
    SpaceContext,
    sample_a2c_params,
    sample_ars_params,
    sample_crossq_params,
    sample_ddpg_params,
    sample_dqn_params,
    sample_maskable_ppo_params,
    sample_ppo_params,
    sample_qrdqn_params,
    sample_recurrent_ppo_params,
    sample_sac_params,
    sample_td3_params,
    sample_tqc_params,
    sample_trpo_params,
)
from sb3_hpo.enqueued import EnqueuedPoint, read_enqueued
from sb3_hpo.file_spaces import FileSpace
from sb3_hpo.points import nearest_point, try_points
from sb3_hpo.space_syntax.yaml_files import BASED_ON, SIZE, check_arguments
from sb3_hpo.understanding import Given, understand
from sb3_hpo.utils.errors import UserError, one_line, unknown_name
from sb3_hpo.utils.import_strings import load_reference
from sb3_hpo.wishes import Wishes, wishes_of_file, wishes_of_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    import gymnasium as gym
    from optuna.distributions import BaseDistribution

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.envs.problem import Problem
    from sb3_hpo.overrides import Sample

__all__ = [
    "SIZES",
    "BoundSpace",
    "EnqueuedPoint",
    "SpaceContext",
    "bind_space",
    "read_enqueued",
    "sample_a2c_params",
    "sample_ars_params",
    "sample_crossq_params",
    "sample_ddpg_params",
    "sample_dqn_params",
    "sample_maskable_ppo_params",
    "sample_ppo_params",
    "sample_qrdqn_params",
    "sample_recurrent_ppo_params",
    "sample_sac_params",
    "sample_td3_params",
    "sample_tqc_params",
    "sample_trpo_params",
    "try_points",
]

SIZES: tuple[Size, ...] = get_args(Size)
_N_PROBES = 64  # random draws; every branch of the shipped spaces has probability >= 1/4


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
    """

    sample: Sample
    dimensions: dict[str, BaseDistribution]
    config: StudyConfig
    action_space: gym.Space[Any]
    default_params: dict[str, Any] = field(default_factory=dict)
    first_points: tuple[dict[str, Any], ...] = ()
    edited: frozenset[str] = frozenset()
    bare: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class _Source:
    """A space as it comes, before overrides.

    Attributes:
        sample: From a trial to keyword arguments.
        name: What the user calls it.
        defaults: SB3's defaults in its dimensions; None if nobody knows.
        first_points: Points that learn fast.
        sample_all: The same space in its largest size.
        bare: The same space without a context, in each size.
        wishes: Overrides that come with it.
        is_edited: Whether all of it is the user's.
    """

    sample: Sample
    name: str
    defaults: Mapping[str, Any] | None = None
    first_points: tuple[Mapping[str, Any], ...] = ()
    sample_all: Sample | None = None
    bare: tuple[Sample, ...] = ()
    wishes: Wishes | None = None
    is_edited: bool = False


def bind_space(config: StudyConfig, problem: Problem) -> BoundSpace:
    """Make the configured search space valid for the configured problem.

    Args:
        config: The study's configuration.
        problem: What the agent faces.

    Returns:
        The space.

    Raises:
        UserError: The budget is too short for the space, an overridden name or value does not
            exist, or the user's function does not return keyword arguments.
    """
    source = _find_source(config, problem)
    sample, defaults = source.sample, source.defaults or {}
    dimensions = probe(sample, source.name)
    all_overrides = []
    for wishes in (source.wishes, wishes_of_options(config)):
        if wishes is not None:
            find_all = partial(probe, source.sample_all or sample, source.name)
            given = Given(config, dimensions, defaults, find_all)
            overrides = understand(wishes, given)
            sample = partial(overrides.apply, sample)
            dimensions = probe(sample, source.name)
            all_overrides.append(overrides)
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
        source.bare,
    )


def _find_source(config: StudyConfig, problem: Problem) -> _Source:
    context = SpaceContext(
        n_envs=config.n_envs,
        n_timesteps=config.n_timesteps,
        n_evaluations=config.n_evaluations,
        action_space=problem.action_space,
        observation_space=problem.observation_space,
        goal_env=problem.has_goals,
        her=config.her,
        longest_episode=problem.longest_episode,
    )
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
    wishes = None
    if config.space is not None:
        dimensions = probe(sample, config.algo)
        wishes = wishes_of_file(names, dimensions)
    return _Source(
        sample,
        config.algo,
        shipped.default_params,
        shipped.first_points,
        sample_all=_with_context(shipped.sample, context, "full"),
        bare=tuple(partial(shipped.sample, size=each) for each in SIZES),
        wishes=wishes,
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


def probe(sample: Sample, name: str) -> dict[str, BaseDistribution]:
    """Find the dimensions of a space by drawing from it.

    Args:
        sample: The space.
        name: What the user calls it.

    Returns:
        What it may suggest, by name.

    Raises:
        UserError: It does not return keyword arguments.
    """
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    dimensions: dict[str, BaseDistribution] = {}
    for _ in range(_N_PROBES):
        trial = study.ask()
        try:
            kwargs = sample(trial)
        except UserError:
            raise
        except Exception as error:
            if ":" not in name:  # not the user's: a bug
                raise
            raise UserError(f"space: {name} failed: {one_line(error, site=True)}") from error
        if not isinstance(kwargs, dict):
            raise UserError(
                f"space: {name} must return a dict of keyword arguments, "
                f"but returned {type(kwargs).__name__}"
            )
        dimensions.update(trial.distributions)
    return dimensions


if __name__ == "__main__":  # the command bears the name that people know
    from sb3_hpo.space_table import main

    sys.exit(main())
