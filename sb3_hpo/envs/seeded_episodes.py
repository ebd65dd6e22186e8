"""Episodes that start from seeds given in advance, whoever resets the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym

if TYPE_CHECKING:
    from collections.abc import Sequence


class SeededEpisodes(gym.Wrapper[Any, Any, Any, Any]):
    """Starts its next episodes from seeds given in advance, whoever resets it.

    Vector environments reset themselves when an episode ends; without this, which start state an
    episode gets would depend on how many environments share the work.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._seeds: list[int] = []
        self._start: Any = None
        self._rests = False

    def plan_episodes(self, seeds: Sequence[int]) -> None:
        """Give the seeds of the episodes to come.

        Args:
            seeds: One seed per episode; later episodes go on with the environment's own stream.
        """
        self._seeds = list(seeds)

    def rest(self) -> None:
        """Do nothing when stepped, until the next reset.

        The environments of a vector are stepped together, and episodes of the others may last
        longer: a fifth of all steps in the evaluations of A2C on CartPole, 20 environments.
        """
        self._rests = True

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, or while it rests return where the last episode started."""
        if self._rests:
            return self._start, 0.0, False, False, {}
        return super().step(action)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset, with the next planned seed if there is one."""
        if self._seeds:
            seed = self._seeds.pop(0)
        self._rests = False
        self._start, info = super().reset(seed=seed, options=options)
        return self._start, info
