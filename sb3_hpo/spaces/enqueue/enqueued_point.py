"""The user's points to be tried first: from parameters, a `best.yaml`, or an RL Zoo file."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sb3_hpo.algorithms.kwargs import deserialize_kwargs
from sb3_hpo.algorithms.trust import check_trusted, named_modules
from sb3_hpo.spaces.dimensions import check_inside, find_dimension, to_drawn
from sb3_hpo.spaces.enqueue.zoo_file import is_zoo_file, read_zoo_entry
from sb3_hpo.spaces.points import nearest_point
from sb3_hpo.utils.errors import UserError, unknown_name
from sb3_hpo.utils.files import read_yaml_mapping

if TYPE_CHECKING:
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
        params = space.params_of(deserialize_kwargs(entry.kwargs))
        return EnqueuedPoint(path.name, params, entry.kwargs)
    return EnqueuedPoint(path.name, _read_params(values, path, space))


def _read_params(values: dict[str, Any], path: Path, space: BoundSpace) -> dict[str, Any]:
    params: dict[str, Any] = {}
    mistakes, declared = [], space.declared
    for name, value in values.items():
        item = find_dimension(name, declared)
        if item is None:
            mistakes.append(unknown_name("parameter", name, space.dimensions))
            continue
        asked = space.dimensions[item.name]
        try:
            params[item.name] = to_drawn(name, value, item, asked)
            check_inside(item.name, params[item.name], asked)
        except UserError as error:
            mistakes.append(f"{name}: {error}")
    if mistakes:
        raise UserError(f"enqueue: {path}: {'; '.join(mistakes)}")
    return params
