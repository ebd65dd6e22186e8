"""A search space made from the entries of a file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sb3_hpo.algorithms.constructor import (
    NOISE,
    constructor_defaults,
    parse_kwarg,
    put,
    true_name,
    true_value,
)
from sb3_hpo.algorithms.kwargs import NORMAL_NOISE, OU_NOISE, deserialize_kwargs
from sb3_hpo.space_syntax.entries import Choices, Constant, Entry, Range
from sb3_hpo.space_syntax.hydra import parse_entry
from sb3_hpo.spaces.dimensions import check_budget
from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import gymnasium as gym

    from samplers import TrialLike
    from sb3_hpo.config.study_config import StudyConfig

_NOISE_CLASSES = {
    "normal": NORMAL_NOISE,
    "ou": OU_NOISE,
    "ornstein-uhlenbeck": OU_NOISE,
}


class FileSpace:
    """A search space, as a callable like any other.

    Attributes:
        default_params: SB3's defaults, as far as they are numbers, text or booleans.
    """

    def __init__(
        self, names: Mapping[str, Any], config: StudyConfig, action_space: gym.Space[Any] | None
    ) -> None:
        """Read the entries.

        Args:
            names: Plain entries by dotted name.
            action_space: Of the environment; action noise has its shape.

        Raises:
            UserError: Something does not fit into the budget, or there can be no action noise.
        """
        self._arguments = constructor_defaults(config.algo)
        self._entries = {name: parse_entry(value) for name, value in names.items()}
        self._action_space = action_space
        self._check(config)
        self.default_params: dict[str, Any] = {}
        for name, entry in self._entries.items():
            default = self._default(name)
            if not isinstance(entry, Constant) and default is not None:
                self.default_params[name] = default

    def _check(self, config: StudyConfig) -> None:
        mistakes = []
        for name, entry in self._entries.items():
            try:
                for value in entry.values():
                    check_budget(name, value, config)
                    if name == "noise_type":
                        action_noise(value, 0.1, self._action_space)
            except UserError as error:
                mistakes.append(f"space: {name}: {error}")
        if mistakes:
            raise UserError("; ".join(mistakes))

    def __call__(self, trial: TrialLike) -> dict[str, Any]:
        """Sample keyword arguments.

        Returns:
            Keyword arguments of the algorithm.
        """
        values = {}
        for name, entry in self._entries.items():
            value = _suggest(trial, name, entry)
            true = true_name(name)
            values[true] = true_value(name, value)
            if true != name:
                trial.set_user_attr(true, values[true])
        kwargs: dict[str, Any] = deserialize_kwargs(self._describe(values))
        return kwargs

    def _default(self, name: str) -> Any:
        """Return SB3's default in the dimension's own scale, or None if it is no plain value."""
        true = true_name(name)
        value = self._arguments.get(true)
        if not isinstance(value, bool | int | float | str) or true == name:
            return value if isinstance(value, bool | int | float | str) else None
        if isinstance(value, str):
            return None
        return 1 - value if name.startswith("one_minus_") else math.log2(value)

    def _describe(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Nest dotted names, and turn words into SB3's objects."""
        kwargs: dict[str, Any] = {}
        for name, value in values.items():
            if name not in NOISE:
                put(kwargs, name, parse_kwarg(name, value))
        if values.get("noise_type") is not None:
            std = values.get("noise_std", 0.1)  # the constants may lack it
            noise = action_noise(values["noise_type"], std, self._action_space)
            kwargs["action_noise"] = noise
        return kwargs


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


def _suggest(trial: TrialLike, name: str, entry: Entry) -> Any:
    if isinstance(entry, Choices):
        return entry.by_name[trial.suggest_categorical(name, list(entry.by_name))]
    if not isinstance(entry, Range):
        return entry.value
    if entry.is_whole:
        step = 1 if entry.step is None else int(entry.step)
        return trial.suggest_int(name, int(entry.low), int(entry.high), step=step, log=entry.log)
    return trial.suggest_float(name, entry.low, entry.high, step=entry.step, log=entry.log)
