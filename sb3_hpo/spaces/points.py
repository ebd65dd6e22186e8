"""Points of a search space: the nearest to given ones, and those to be tried for errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna

from samplers import nearest as nearest_value
from sb3_hpo.utils.errors import UserError, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna.distributions import BaseDistribution

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
        if name in dimensions and (near := nearest_value(value, dimensions[name])) is not None:
            nearest[name] = near
    return nearest


_N_PROBES = 64  # random draws; every branch of the shipped spaces has probability >= 1/4


def discover_ranges(sample: Sample, name: str) -> dict[str, BaseDistribution]:
    """Find what a function may suggest by drawing from it.

    Args:
        name: What the user calls it.

    Returns:
        What it may suggest, by name.

    Raises:
        UserError: It does not return keyword arguments.
    """
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    ranges: dict[str, BaseDistribution] = {}
    for _ in range(_N_PROBES):
        trial = study.ask()
        try:
            kwargs = sample(trial)
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            if ":" not in name:  # not the user's: a bug
                raise
            raise UserError(f"space: {name} failed: {one_line(error, site=True)}") from error
        if not isinstance(kwargs, dict):
            raise UserError(
                f"space: {name} must return a dict of keyword arguments, "
                f"but returned {type(kwargs).__name__}"
            )
        ranges.update(trial.distributions)
    return ranges
