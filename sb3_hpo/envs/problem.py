"""What an agent faces, known before any trial."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from sb3_hpo.envs.factory import env_factory
from sb3_hpo.utils.errors import UserError, one_line, unknown_name

if TYPE_CHECKING:
    from sb3_hpo.config.training_config import TrainingConfig


_PACKAGES = {  # beginnings of ids, and the module that registers them
    "ALE/": "ale_py", "MiniGrid-": "minigrid", "BabyAI-": "minigrid",
}  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """What an agent faces.

    Attributes:
        observation_space: As the agent sees it, frames stacked.
        action_space: Of the environment.
        longest_episode: Steps after which a time limit ends an episode, or None if none does.
        has_action_masks: Whether the environment tells which actions are valid.
    """

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    longest_episode: int | None = None
    has_action_masks: bool = False

    @property
    def has_goals(self) -> bool:
        """Whether observations carry achieved and desired goals, as HER needs them."""
        keys = getattr(self.observation_space, "spaces", ())
        return {"observation", "achieved_goal", "desired_goal"} <= set(keys)


def probe_env(config: TrainingConfig) -> Problem:
    """Make one environment, reset it and close it, to learn what it is before any trial.

    Raises:
        UserError: The environment is unknown, or making or resetting it fails.
    """
    try:
        env = env_factory(config).bare()
    except UserError as error:
        raise UserError(re.sub(r"^(?!wrapper: )", "env: ", str(error))) from error
    except gym.error.UnregisteredEnv as error:
        if (home := _package_of(config.env)) is not None:
            raise UserError(
                f"env: {config.env!r} is there once its package has been imported: write "
                f"{home}:{config.env}"
            ) from error
        known = [name for name in gym.registry if "/" not in name]
        text = unknown_name("environment", config.env, known).split(" Known:")[0].rstrip(";?")
        text += "?" if "did you mean" in text else ""
        raise UserError(f"env: {text}; or pass package.module:factory") from error
    except (Exception, SystemExit) as error:
        raise UserError(
            f"env: making {config.env!r} failed: {one_line(error, site=True)}"
        ) from error
    doing = "resetting"
    try:
        env.reset(seed=0)
        doing = "closing"
        env.close()
    except (Exception, SystemExit) as error:
        if doing == "resetting":
            with suppress(Exception):  # what it raised first is what matters
                env.close()
        raise UserError(
            f"env: {doing} {config.env!r} failed: {one_line(error, site=True)}"
        ) from error
    return Problem(
        _stacked(env.observation_space, config.frame_stack),
        env.action_space,
        _longest_episode(env),
        env.has_wrapper_attr("action_masks"),
    )


def _package_of(env: str) -> str | None:
    """Return the module that has to be imported for an id of a well-known package."""
    homes = (home for start, home in _PACKAGES.items() if env.startswith(start))
    return next(homes, None)


def _stacked(space: gym.Space[Any], n_frames: int) -> gym.Space[Any]:
    from gymnasium.spaces import Box, Dict

    if n_frames == 1:
        return space
    parts = space.spaces.values() if isinstance(space, Dict) else [space]
    if not isinstance(space, Box | Dict) or not all(isinstance(part, Box) for part in parts):
        raise UserError(f"frame_stack: needs Box observations, but the space is {space}")
    from stable_baselines3.common.vec_env.stacked_observations import StackedObservations

    stacked: gym.Space[Any] = StackedObservations(1, n_frames, space).stacked_observation_space
    return stacked


def _longest_episode(env: gym.Env[Any, Any]) -> int | None:
    """Return the shortest of the time limits around an environment."""
    limits = []
    while isinstance(env, gym.Wrapper):
        if isinstance(env, gym.wrappers.TimeLimit):
            limits.append(env._max_episode_steps)
        env = env.env
    return min(limits, default=None)
