"""What is checked before a study is written: options, environment, space, models."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from optuna.distributions import CategoricalDistribution

from sb3_hpo.algorithms.registry import load_algorithm
from sb3_hpo.envs.problem import probe_env
from sb3_hpo.spaces.bind import bind_space
from sb3_hpo.spaces.points import draw_at
from sb3_hpo.study.sampling.grid import choices_of
from sb3_hpo.study.sampling.optuna_samplers import check_search
from sb3_hpo.training.callbacks import make_callbacks
from sb3_hpo.training.models import check_device, check_problem, choose_device, choose_policy
from sb3_hpo.training.train import build_once
from sb3_hpo.utils.errors import UserError, check_installed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from optuna.distributions import BaseDistribution

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.spaces.bound_space import BoundSpace


def prepare(config: StudyConfig) -> BoundSpace:
    """Check everything that can be checked before a trial, without writing anything.

    Returns:
        The bound search space.

    Raises:
        UserError: Something is wrong; the message names the flag.
    """
    check_search(config)
    if config.tensorboard:
        check_installed("tensorboard: it", ["tensorboard"], extra="tensorboard")
    load_algorithm(config.algo)
    check_device(config.device)
    problem = probe_env(config)
    check_problem(config, problem)
    space = bind_space(config, problem)
    if config.sampler == "grid":
        choices_of(space.dimensions)
    return space


def model_choices(config: StudyConfig) -> tuple[str, str]:
    """Return the policy and the device that training takes for this environment.

    Returns:
        Their names.
    """
    space = probe_env(config).observation_space
    return (
        config.policy or choose_policy(load_algorithm(config.algo), space),
        config.device or choose_device(space),
    )


def try_model(config: StudyConfig, space: BoundSpace) -> None:
    """Build models, untrained, as the last check before the study is written.

    One of a first sample, and one for each choice and each end of a range that the user has made.
    The callbacks of a run are made, too.

    Raises:
        UserError: The constructor refuses the policy, its arguments, the device or a sample; or
            there is no such callback.
    """
    make_callbacks(config)
    try_points(space, lambda kwargs: build_once(config, kwargs))


def try_points(space: BoundSpace, build: Callable[[dict[str, Any]], None]) -> None:
    """Build a model at a first sample, and at all choices and ends of ranges of the user's.

    Nobody has built one with these yet. A few points have them all: the first has the first
    choice of each dimension, and so on.

    Args:
        build: Builds a model of keyword arguments, or raises.

    Raises:
        UserError: One is refused; the message says which.
    """
    values = {name: _values_to_try(space.dimensions[name]) for name in sorted(space.edited)}
    n_points = max(map(len, values.values()), default=0)
    points = [
        {name: items[i % len(items)] for name, items in values.items()} for i in range(n_points)
    ]
    for point in [{}, *points]:
        trial = draw_at({**space.default_params, **point} if point else {})
        try:
            build(space.sample(trial))
        except Exception as error:
            culprit = _find_culprit(trial.params, values, space, build)
            text = " ".join(str(error).split())
            raise UserError(
                f"{space.config.algo} cannot be built with these options and "
                f"{culprit or 'a first sample'}: {type(error).__name__}: {text}"
            ) from error


def _find_culprit(
    params: dict[str, Any],
    values: Mapping[str, tuple[Any, ...]],
    space: BoundSpace,
    build: Callable[[dict[str, Any]], None],
) -> str:
    """Return the user's value without which a point that was refused is not; or nothing."""
    for name in values.keys() & params.keys():
        for other in values[name]:
            # Whatever is wrong with another value is not what is looked for.
            with contextlib.suppress(Exception):
                build(space.sample(draw_at({**params, name: other})))
                return f"{name}={params[name]}"
    return ""


def _values_to_try(distribution: BaseDistribution) -> tuple[Any, ...]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    return distribution.low, distribution.high  # type: ignore[attr-defined]
