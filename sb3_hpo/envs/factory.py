"""Environments: made from a configuration, for training and for evaluation."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from sb3_hpo.algorithms.kwargs import deserialize_kwargs
from sb3_hpo.envs.seeded_episodes import SeededEpisodes
from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.import_strings import ENV_ID, import_module, load_reference

_logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from collections.abc import Callable

    from stable_baselines3.common.vec_env import VecEnv, VecNormalize

    from sb3_hpo.config.training_config import TrainingConfig


@dataclass(frozen=True)
class EnvFactory:
    """Makes one environment; can be sent to another process.

    Attributes:
        env: What `--env` takes.
        env_kwargs: Description of the environment's arguments.
        wrapper: References of the wrappers, the innermost first.
        max_episode_steps: Length at which an episode is cut, or None for no cap of ours.
    """

    env: str
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    wrapper: tuple[str, ...] = ()
    max_episode_steps: int | None = None

    def __call__(self) -> gym.Env[Any, Any]:
        """Make the environment with the user's wrappers and Monitor outermost.

        Returns:
            The environment. Monitor sees what the agent sees, so that a `TimeLimit` among the
            wrappers ends an episode there too.
        """
        from stable_baselines3.common.monitor import Monitor

        env = self.bare()
        if self.max_episode_steps is not None:
            env = gym.wrappers.TimeLimit(env, self.max_episode_steps)
        return Monitor(SeededEpisodes(env))

    def bare(self) -> gym.Env[Any, Any]:
        """Make the environment with the user's wrappers only."""
        env = _checked(self._make(), self.env)
        for name in self.wrapper:
            try:
                wrap = load_reference(name)
            except UserError as error:
                raise UserError(f"wrapper: {error}") from error
            env = _checked(wrap(env), f"wrapper: {name}")
        return env

    def _make(self) -> gym.Env[Any, Any]:
        module, colon, name = self.env.rpartition(":")
        if colon and not ENV_ID.fullmatch(name):
            made: gym.Env[Any, Any] = load_reference(self.env)(
                **deserialize_kwargs(self.env_kwargs)
            )
            return made
        if colon:
            import_module(module)
        return gym.make(name, **deserialize_kwargs(self.env_kwargs))


def _checked(made: Any, name: str) -> gym.Env[Any, Any]:
    if isinstance(made, gym.Env):
        return made
    kind = (
        "None" if made is None else f"an object of {type(made).__module__}:{type(made).__name__}"
    )
    advice = "is its `return` missing?" if made is None else "return one, derived from that class"
    raise UserError(f"{name} must make a gymnasium.Env, but made {kind}; {advice}")


def env_factory(config: TrainingConfig) -> EnvFactory:
    """Return the factory that a configuration describes."""
    return EnvFactory(config.env, config.env_kwargs, config.wrapper)


def make_training_envs(config: TrainingConfig, gamma: float) -> VecEnv:
    """Make the training environments; with `normalize`, inside VecNormalize.

    Args:
        gamma: The discount that VecNormalize scales returns with; the trial's own, otherwise
            retraining with a tuned one would not repeat the trial.

    Returns:
        A vector environment of `config.n_envs`.
    """
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

    factories: list[Callable[[], gym.Env[Any, Any]]] = [env_factory(config)] * config.n_envs
    venv: VecEnv = (
        DummyVecEnv(factories) if config.vec_env == "dummy" else SubprocVecEnv(factories)
    )
    venv = _stack_frames(venv, config.frame_stack)
    return VecNormalize(venv, gamma=gamma) if config.normalize else venv


def make_evaluation_envs(config: TrainingConfig, max_episode_steps: int) -> VecEnv:
    """Make the evaluation environments; with `normalize`, with frozen statistics to be synced.

    Args:
        config: The run's configuration, with `n_eval_envs` at least 1.
        max_episode_steps: Length at which an endless episode is cut.

    Returns:
        A vector environment of `config.n_eval_envs` in this process.
    """
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    factory = replace(env_factory(config), max_episode_steps=max_episode_steps)
    venv = _stack_frames(DummyVecEnv([factory] * config.n_eval_envs), config.frame_stack)
    if config.normalize:
        return VecNormalize(venv, training=False, norm_reward=False)
    return venv


def _stack_frames(venv: VecEnv, n_frames: int) -> VecEnv:
    """Let the agent see its last observations; inside VecNormalize, which replay buffers undo."""
    from stable_baselines3.common.vec_env import VecFrameStack

    return venv if n_frames == 1 else VecFrameStack(venv, n_frames)


def close_envs(venv: VecEnv) -> None:
    """Close environments whose run is over; what they raise then is logged."""
    try:
        venv.close()
    except Exception:
        _logger.exception("an environment could not be closed")


def find_vec_normalize(venv: VecEnv | None) -> VecNormalize | None:
    """Return the VecNormalize among the wrappers of a vector environment.

    Returns:
        The outermost one, or None.
    """
    from stable_baselines3.common.vec_env import unwrap_vec_normalize

    return None if venv is None else unwrap_vec_normalize(venv)
