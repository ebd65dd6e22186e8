"""Points of a search space: the nearest to given ones, and those to be tried for errors."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import CategoricalDistribution

from sb3_hpo.utils.errors import UserError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from optuna.distributions import BaseDistribution

    from sb3_hpo.spaces.bound_space import BoundSpace

    Dimensions = Mapping[str, BaseDistribution]

    from sb3_hpo.spaces.overrides.trial_proxy import Sample


def draw_at(params: Mapping[str, Any]) -> optuna.Trial:
    """Return a trial that suggests these parameters, and draws what they lack.

    Args:
        params: By dimension.
    """
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(dict(params))
    return study.ask()


def nearest_point(params: Mapping[str, Any], dimensions: Dimensions) -> dict[str, Any]:
    """Move a point into the space and leave out what the space does not have.

    Args:
        params: By dimension.
        dimensions: The space.

    Returns:
        The nearest point; without the choices that are not in the space.
    """
    nearest = {}
    for name, value in params.items():
        if name in dimensions and (near := _nearest_value(value, dimensions[name])) is not None:
            nearest[name] = near
    return nearest


def _nearest_value(value: Any, distribution: BaseDistribution) -> Any:
    """Return the nearest value that can be suggested; None if there is nothing near."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(distribution, CategoricalDistribution):
        if value in distribution.choices:
            return value
        numbers = [c for c in distribution.choices if isinstance(c, int | float)]
        if not is_number or len(numbers) < len(distribution.choices):
            return None
        return min(numbers, key=lambda choice: abs(choice - value))
    if not is_number:
        return None
    low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
    near = min(max(value, low), high)
    step = distribution.step  # type: ignore[attr-defined]
    if step is not None and near != low:
        near = min(low + round((near - low) / step) * step, high)
    return near


def try_points(space: BoundSpace, build: Callable[[dict[str, Any]], None]) -> None:
    """Build a model at a first sample, and at all choices and ends of ranges of the user's.

    Nobody has built one with these yet. A few points have them all: the first has the first
    choice of each dimension, and so on.

    Args:
        space: The bound space.
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


_N_PROBES = 64  # random draws; every branch of the shipped spaces has probability >= 1/4


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
