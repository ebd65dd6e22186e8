"""The user's points to be tried first: from parameters, a `best.yaml`, or an RL Zoo file."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sb3_hpo.algorithms.kwargs import deserialize_kwargs
from sb3_hpo.algorithms.trust import check_trusted, named_modules
from sb3_hpo.spaces.dimensions import check_inside, to_dimension
from sb3_hpo.spaces.enqueue.zoo_file import is_zoo_file, read_zoo_entry
from sb3_hpo.spaces.points import nearest_point
from sb3_hpo.utils.errors import UserError, unknown_name
from sb3_hpo.utils.files import read_yaml_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sb3_hpo.spaces.bound_space import BoundSpace

logger = logging.getLogger(__name__)


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
        path: YAML with dimensions or SB3 names. Or the `best.yaml` of another study, or an RL Zoo
            file with an entry for the study's environment: these are tried as they are, also
            where this study's space does not reach.

    Returns:
        The point. A warning is logged of what an RL Zoo entry says of the environment or the
        budget and the study does otherwise.

    Raises:
        UserError: All unknown names and impossible values.
    """
    values = read_yaml_mapping(path)
    check_trusted(values.get("kwargs", values), named_modules(space.config.plain()),
                  f"enqueue: {path}")  # fmt: skip
    if "params" in values and "kwargs" in values:
        nearest = nearest_point(values["params"], space.dimensions)
        return EnqueuedPoint(path.name, nearest, values["kwargs"])
    if is_zoo_file(values, space.config.env.rpartition(":")[2]):
        entry = read_zoo_entry(values, f"enqueue: {path}", space.config, space.action_space)
        if entry.differences:
            logger.warning(
                "%s: %s: the trial runs as the study does, not as the entry says: %s",
                path,
                entry.name,
                ", ".join(entry.differences),
            )
        return EnqueuedPoint(path.name, params_near(entry.kwargs, space), entry.kwargs)
    return EnqueuedPoint(path.name, _read_params(values, path, space))


def params_near(kwargs: Mapping[str, Any], space: BoundSpace) -> dict[str, Any]:
    """Find the point of a space whose arguments are next to given ones.

    Args:
        kwargs: Description of keyword arguments; what it lacks has SB3's default.

    Returns:
        Parameters by dimension; what cannot be found is left out, for the sampler to draw. In a
        space that does not say what its dimensions decide, these are numbers of the same names.
    """
    if space.params_of is not None:
        return nearest_point(space.params_of(deserialize_kwargs(kwargs)), space.dimensions)
    params: dict[str, Any] = {}
    for name, value in {**kwargs.get("policy_kwargs", {}), **kwargs}.items():
        with contextlib.suppress(UserError):  # what a dimension cannot hold
            found = to_dimension(name, value, space.dimensions)
            params.update([] if found is None else [found])
    return nearest_point(params, space.dimensions)


def _read_params(values: dict[str, Any], path: Path, space: BoundSpace) -> dict[str, Any]:
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
    return params
