"""What all search spaces know: the problem, the sizes, and what a trial can be asked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

if TYPE_CHECKING:
    from collections.abc import Sequence

    import gymnasium

Size = Literal["small", "default", "full"]
"""How much is searched: the few dimensions that matter most, the usual ones, or everything."""

_SIZES: tuple[Size, ...] = get_args(Size)


class TrialLike(Protocol):
    """The part of an Optuna trial that a search space uses (`Trial` and `FixedTrial` have it)."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Suggest a float in [low, high]."""

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Suggest an integer in [low, high]."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Suggest one of the choices."""

    def set_user_attr(self, key: str, value: Any) -> None:
        """Note a value beside the parameters."""


@dataclass(frozen=True, kw_only=True)
class SpaceContext:
    """The problem a space must be valid for.

    Attributes:
        n_envs: Parallel training environments.
        n_timesteps: Environment steps of one training run (the budget T).
        n_evaluations: Points of the evaluation grid; one rollout must fit between two of them.
        action_space: The environment's action space, or None if unknown.
        observation_space: The environment's observation space, or None if unknown.
        goal_env: Whether observations carry achieved and desired goals.
        her: Whether goals are relabelled in hindsight (off-policy algorithms in goal
            environments only).
        longest_episode: Steps of the longest episode, or None if unknown; `her` needs it.
    """

    n_envs: int = 1
    n_timesteps: int = 100_000
    n_evaluations: int = 10
    action_space: gymnasium.Space[Any] | None = None
    observation_space: gymnasium.Space[Any] | None = None
    goal_env: bool = False
    her: bool = False
    longest_episode: int | None = None

    def __post_init__(self) -> None:
        for name in ("n_envs", "n_timesteps", "n_evaluations", "longest_episode"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, but got {value}.")
        if self.her:
            self._check_her()

    def _check_her(self) -> None:
        # SB3 cannot relabel before the end of the first episode, and then raises RuntimeError.
        if self.longest_episode is None:
            raise ValueError(
                "her needs longest_episode: learning starts after the first episode, whose "
                "length is unknown; give the environment a time limit."
            )
        first_end = self.longest_episode * self.n_envs
        if first_end >= self.n_timesteps:
            raise ValueError(
                "With her, `longest_episode * n_envs < n_timesteps` must hold, or nothing is "
                f"learned, but got {self.longest_episode} * {self.n_envs} >= {self.n_timesteps}. "
                "Train longer or use fewer environments."
            )


def is_at_least(size: Size, minimum: Size) -> bool:
    """Tell whether a space of this size has the dimensions of size `minimum`."""
    if size not in _SIZES:
        raise ValueError(f"size must be one of {', '.join(_SIZES)}, but got {size!r}.")
    return _SIZES.index(size) >= _SIZES.index(minimum)


def max_rollout_steps(context: SpaceContext, *, minimum: int) -> int:
    """Return the longest rollout, in vec-env steps, that fits between two evaluations.

    Args:
        minimum: The shortest rollout the space can sample.

    Raises:
        ValueError: If not even the shortest rollout fits.
    """
    n_steps = context.n_timesteps // context.n_evaluations // context.n_envs
    if n_steps < minimum:
        raise ValueError(
            "One rollout must fit between two evaluations: "
            f"n_timesteps // n_evaluations >= {minimum} * n_envs must hold, but got "
            f"(n_timesteps={context.n_timesteps}, n_evaluations={context.n_evaluations}, "
            f"n_envs={context.n_envs}). Raise n_timesteps, or lower n_evaluations or n_envs."
        )
    return n_steps


def floor_log2(value: int) -> int:
    """Return the exponent of the largest power of two that is at most `value` (>= 1)."""
    return value.bit_length() - 1


def power_of_two(exponent: float) -> int:
    """Return 2**exponent as an integer.

    The exponent is an integer when it was sampled. A caller who fixes the quantity itself, say
    100, passes log2(100), and rounding gives the 100 back.
    """
    return round(math.pow(2.0, exponent))


def has_images(context: SpaceContext) -> bool:
    """Tell whether the observations are known to be images, for which SB3 has a CNN."""
    from gymnasium.spaces import Box

    space = context.observation_space
    return isinstance(space, Box) and len(space.shape) == 3 and space.dtype == "uint8"


def box_action_shape(context: SpaceContext) -> tuple[int, ...] | None:
    """Return the shape of the actions if they are known to be continuous, otherwise None."""
    if context.action_space is None:
        return None
    from gymnasium.spaces import Box

    return context.action_space.shape if isinstance(context.action_space, Box) else None


def has_box_actions(context: SpaceContext) -> bool:
    """Tell whether the actions are known to be continuous."""
    return box_action_shape(context) is not None
