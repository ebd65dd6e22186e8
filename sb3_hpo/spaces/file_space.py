"""A search space made from the entries of a file."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from samplers import Finish, Number, SearchSpace
from sb3_hpo.algorithms.constructor import (
    NOISE,
    constructor_defaults,
    parse_kwarg,
    true_name,
    true_value,
)
from sb3_hpo.algorithms.kwargs import NORMAL_NOISE, OU_NOISE, deserialize_kwargs
from sb3_hpo.space_syntax.entries import Choices, Constant
from sb3_hpo.space_syntax.hydra import parse_entry
from sb3_hpo.spaces.dimensions import check_budget, dimension_named
from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import gymnasium as gym

    from samplers import Dimension, Size, SpaceContext
    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.space_syntax.entries import Entry, Range

_NOISE_CLASSES = {
    "normal": NORMAL_NOISE,
    "ou": OU_NOISE,
    "ornstein-uhlenbeck": OU_NOISE,
}


def file_space(
    names: Mapping[str, Any], config: StudyConfig, action_space: gym.Space[Any] | None
) -> SearchSpace:
    """Make a search space of entries.

    Args:
        names: Plain entries by dotted name.
        action_space: Of the environment; action noise has its shape.

    Raises:
        UserError: Something does not fit into the budget, or there can be no action noise.
    """
    entries = {name: parse_entry(value) for name, value in names.items()}
    _check(entries, config, action_space)
    constants = {
        true_name(name): true_value(name, entry.value)
        for name, entry in entries.items()
        if isinstance(entry, Constant)
    }
    defaults = constructor_defaults(config.algo)
    return SearchSpace(
        *(
            _dimension(name, entry, defaults)
            for name, entry in entries.items()
            if not isinstance(entry, Constant)
        ),
        algorithm=config.algo,
        min_rollout=1,
        finish=(_Words(constants, action_space),),
    )


def _dimension(name: str, entry: Range | Choices, defaults: Mapping[str, Any]) -> Dimension:
    """Return the dimension of an entry, with SB3's default where that is a plain value."""
    values = entry.by_name if isinstance(entry, Choices) else None
    item = dimension_named(name, entry.distribution(), values)
    default = defaults.get(item.decides)
    if isinstance(item, Number):
        return replace(item, default=item.to_scale(default))
    return replace(
        item, default=default if isinstance(default, bool | int | float | str) else None
    )


def _check(
    entries: Mapping[str, Entry], config: StudyConfig, action_space: gym.Space[Any] | None
) -> None:
    mistakes = []
    for name, entry in entries.items():
        try:
            for value in entry.values():
                check_budget(true_name(name), true_value(name, value), config)
                if name == "noise_type":
                    action_noise(value, 0.1, action_space)
        except UserError as error:
            mistakes.append(f"space: {name}: {error}")
    if mistakes:
        raise UserError("; ".join(mistakes))


@dataclass(frozen=True)
class _Words(Finish):
    """Turns words into SB3's objects, and adds what is not searched; what they were is not known.

    Attributes:
        constants: Values by argument.
        action_space: Of the environment.
    """

    constants: Mapping[str, Any]
    action_space: gym.Space[Any] | None

    def do(self, values: dict[str, Any], _context: SpaceContext, _size: Size) -> dict[str, Any]:
        """Make the objects, for each trial its own."""
        written = {**self.constants, **values}
        kind, std = (written.pop(name, None) for name in NOISE)
        if kind is not None:
            noise = action_noise(kind, 0.1 if std is None else std, self.action_space)
            written["action_noise"] = noise
        values.clear()
        for name, value in written.items():
            values[name] = deserialize_kwargs(parse_kwarg(name, value))
        return {}


def action_noise(
    kind: str | None, std: float, action_space: gym.Space[Any] | None
) -> dict[str, Any] | None:
    """Describe action noise of the shape of the actions.

    Args:
        kind: none, normal, ou or ornstein-uhlenbeck.
        std: Its standard deviation, for actions in [-1, 1].
        action_space: Of the environment.

    Returns:
        What `deserialize_kwargs` turns into the noise.

    Raises:
        UserError: The kind is unknown, or the actions are not continuous.
    """
    if kind in (None, "none"):
        return None
    if kind not in _NOISE_CLASSES:
        known = ["none", *_NOISE_CLASSES]
        raise UserError(f"must be one of {', '.join(known)}, but got {kind!r}")
    if type(action_space).__name__ != "Box":
        raise UserError(
            f"{kind} noise is for continuous actions, but the action space is "
            f"{action_space}: remove it"
        )
    n_actions = math.prod(action_space.shape or ())  # type: ignore[union-attr]
    mean, sigma = [0.0] * n_actions, [float(std)] * n_actions
    return {"$call": _NOISE_CLASSES[kind], "mean": mean, "sigma": sigma}
