"""Which search space: the shipped ones or the user's own, with the user's overrides applied."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import CategoricalDistribution

from samplers import (
    SEARCH_SPACES,
    SpaceContext,
    sample_a2c_params,
    sample_ddpg_params,
    sample_dqn_params,
    sample_ppo_params,
    sample_sac_params,
    sample_td3_params,
)
from sb3_hpo.codec import describe
from sb3_hpo.errors import UserError, unknown_name
from sb3_hpo.files import read_yaml_mapping
from sb3_hpo.overrides import Fixed, Sample, check_inside, names_held_by, sort_fixed, to_dimension
from sb3_hpo.references import load_reference

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import gymnasium as gym
    from optuna.distributions import BaseDistribution

    from samplers import TrialLike
    from sb3_hpo.config import StudyConfig

__all__ = [
    "BoundSpace",
    "bind_space",
    "read_enqueued",
    "sample_a2c_params",
    "sample_ddpg_params",
    "sample_dqn_params",
    "sample_ppo_params",
    "sample_sac_params",
    "sample_td3_params",
]

_N_PROBES = 64  # random draws; every branch of the shipped spaces has probability >= 1/4


@dataclass(frozen=True)
class BoundSpace:
    """A search space for one problem, with the user's overrides.

    Attributes:
        sample: From a trial to keyword arguments of the algorithm.
        dimensions: What it may suggest, by name.
        default_params: The point of the space next to SB3's defaults; empty for a user's space.
        first_points: Points to be tried after SB3's defaults; none for a user's space.
        default_override: Description of the arguments that, with everything else at SB3's
            default, respect the user's fixed values.
    """

    sample: Sample
    dimensions: dict[str, BaseDistribution]
    default_params: dict[str, Any] = field(default_factory=dict)
    first_points: tuple[dict[str, Any], ...] = ()
    default_override: dict[str, Any] = field(default_factory=dict)


def bind_space(
    config: StudyConfig, observation_space: gym.Space[Any], action_space: gym.Space[Any]
) -> BoundSpace:
    """Make the configured search space valid for the configured problem.

    Args:
        config: The study's configuration.
        observation_space: Of the environment.
        action_space: Of the environment.

    Returns:
        The space.

    Raises:
        UserError: The budget is too short for the space, a fixed name or value does not exist,
            or the user's function does not return keyword arguments.
    """
    shipped = SEARCH_SPACES.get(config.algo) if config.space is None else None
    context = SpaceContext(
        n_envs=config.n_envs,
        n_timesteps=config.n_timesteps,
        n_evaluations=config.n_evaluations,
        action_space=action_space,
        observation_space=observation_space,
        goal_env=type(observation_space).__name__ == "Dict"
        and "achieved_goal" in observation_space.spaces,  # type: ignore[attr-defined]
    )
    _check_budget(config, 1 if shipped is None else shipped.min_rollout)
    function = _load_space(config.space or "") if shipped is None else shipped.sample
    raw = _with_context(function, context, config.space_size)
    dimensions = _probe(raw, config.space or config.algo)
    defaults = {} if shipped is None else _nearest(shipped.default_params, dimensions)
    fixed = sort_fixed(config, dimensions, defaults)

    def sample(trial: TrialLike) -> dict[str, Any]:
        return fixed.apply(raw, trial)

    free = _probe(sample, config.space or config.algo)
    params = {name: value for name, value in defaults.items() if name in free}
    override = _override(raw, fixed, defaults) if shipped is not None else {}
    firsts: list[dict[str, Any]] = []
    for point in () if shipped is None else shipped.first_points:
        nearest = _nearest(point, free)
        if nearest not in firsts:  # what tells them apart may be fixed
            firsts.append(nearest)
    return BoundSpace(sample, free, params, tuple(firsts), override)


def _load_space(name: str) -> Any:
    try:
        return load_reference(name)
    except UserError as error:
        raise UserError(f"space: {error}") from error


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


def _probe(sample: Sample, name: str) -> dict[str, BaseDistribution]:
    """Find the dimensions of a space by drawing from it."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    dimensions: dict[str, BaseDistribution] = {}
    for _ in range(_N_PROBES):
        trial = study.ask()
        kwargs = sample(trial)
        if not isinstance(kwargs, dict):
            raise UserError(
                f"space: {name} must return a dict of keyword arguments, "
                f"but returned {type(kwargs).__name__}"
            )
        dimensions.update(trial.distributions)
    return dimensions


def _nearest(params: Mapping[str, Any], dimensions: dict[str, BaseDistribution]) -> dict[str, Any]:
    """Move a point into the space and leave out what the space does not have."""
    nearest = {}
    for name, value in params.items():
        distribution = dimensions.get(name)
        if distribution is None:
            continue
        if not isinstance(distribution, CategoricalDistribution):
            low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
            value = min(max(value, low), high)  # noqa: PLW2901
        nearest[name] = value
    return nearest


def _override(raw: Sample, fixed: Fixed, defaults: dict[str, Any]) -> dict[str, Any]:
    """Describe what the user has fixed; all else stays SB3's literal default."""
    # Fixing a choice may open dimensions that SB3's default does not have: those are drawn.
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(defaults)
    held = describe(fixed.apply(raw, study.ask()))
    override = dict(fixed.kwargs)
    for dimension in fixed.dimensions:
        for name in names_held_by(dimension):
            if name in held:
                override[name] = held[name]
            elif name in held.get("policy_kwargs", {}):
                value = {name: held["policy_kwargs"][name]}
                override["policy_kwargs"] = override.get("policy_kwargs", {}) | value
    return override


@dataclass(frozen=True)
class EnqueuedPoint:
    """A point that the user wants tried.

    Attributes:
        source: Name of the file it comes from.
        params: Values by dimension; what is left out is sampled.
        kwargs: Description of the exact keyword arguments, where the file has them.
    """

    source: str
    params: dict[str, Any]
    kwargs: dict[str, Any] | None = None


def read_enqueued(path: Path, space: BoundSpace) -> EnqueuedPoint:
    """Read a point from a file.

    Args:
        path: YAML with dimensions or SB3 names; or the `best.yaml` of another study, which is
            tried as it is, also where this study's space does not reach.
        space: The bound space.

    Returns:
        The point.

    Raises:
        UserError: All unknown names and impossible values.
    """
    values = read_yaml_mapping(path)
    if "params" in values and "kwargs" in values:
        nearest = _nearest(values["params"], space.dimensions)
        return EnqueuedPoint(path.name, nearest, values["kwargs"])
    params: dict[str, Any] = {}
    mistakes = []
    for name, value in values.items():
        try:
            dimension = to_dimension(name, value, space.dimensions)
            if dimension is not None:
                check_inside(*dimension, space.dimensions)
                params.update([dimension])
        except UserError as error:
            mistakes.append(f"{name}: {error}")
            continue
        if dimension is None:
            mistakes.append(unknown_name("parameter", name, space.dimensions))
    if mistakes:
        raise UserError(f"enqueue: {path}: {'; '.join(mistakes)}")
    return EnqueuedPoint(path.name, params)
