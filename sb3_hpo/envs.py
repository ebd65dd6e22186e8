"""Environments: made from a configuration, for training and for evaluation."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from sb3_hpo.algorithms.kwargs import build
from sb3_hpo.utils.errors import UserError, one_line, unknown_name
from sb3_hpo.utils.import_strings import ENV_ID, import_module, load_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stable_baselines3.common.vec_env import VecEnv, VecNormalize

    from sb3_hpo.config.training_config import TrainingConfig

_HOMES = {  # beginnings of ids, and the module that registers them
    "ALE/": "ale_py", "MiniGrid-": "minigrid", "BabyAI-": "minigrid",
}  # fmt: skip


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
            made: gym.Env[Any, Any] = load_reference(self.env)(**build(self.env_kwargs))
            return made
        if colon:
            import_module(module)
        return gym.make(name, **build(self.env_kwargs))


def _checked(made: Any, name: str) -> gym.Env[Any, Any]:
    if isinstance(made, gym.Env):
        return made
    kind = (
        "None" if made is None else f"an object of {type(made).__module__}:{type(made).__name__}"
    )
    mend = "is its `return` missing?" if made is None else "return one, derived from that class"
    raise UserError(f"{name} must make a gymnasium.Env, but made {kind}; {mend}")


def env_factory(config: TrainingConfig) -> EnvFactory:
    """Return the factory that a configuration describes.

    Args:
        config: The run's configuration.

    Returns:
        The factory.
    """
    return EnvFactory(config.env, config.env_kwargs, config.wrapper)


def make_training_envs(config: TrainingConfig, gamma: float) -> VecEnv:
    """Make the training environments; with `normalize`, inside VecNormalize.

    Args:
        config: The run's configuration.
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


def find_vec_normalize(venv: VecEnv | None) -> VecNormalize | None:
    """Return the VecNormalize among the wrappers of a vector environment.

    Args:
        venv: The vector environment.

    Returns:
        The outermost one, or None.
    """
    from stable_baselines3.common.vec_env import unwrap_vec_normalize

    return None if venv is None else unwrap_vec_normalize(venv)


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


def probe(config: TrainingConfig) -> Problem:
    """Make one environment, reset it and close it, to learn what it is before any trial.

    Args:
        config: The run's configuration.

    Returns:
        The problem.

    Raises:
        UserError: The environment is unknown, or making or resetting it fails.
    """
    try:
        env = env_factory(config).bare()
    except UserError as error:
        raise UserError(re.sub(r"^(?!wrapper: )", "env: ", str(error))) from error
    except gym.error.UnregisteredEnv as error:
        if (home := _home_of(config.env)) is not None:
            raise UserError(
                f"env: {config.env!r} is there once its package has been imported: write "
                f"{home}:{config.env}"
            ) from error
        known = [name for name in gym.registry if "/" not in name]
        raise UserError(unknown_name("environment", config.env, known).split(" Known:")[0]
                        + "; or pass package.module:factory") from error  # fmt: skip
    except (Exception, SystemExit) as error:
        raise UserError(
            f"env: making {config.env!r} failed: {one_line(error, site=True)}"
        ) from error
    try:
        env.reset(seed=0)
    except (Exception, SystemExit) as error:
        raise UserError(
            f"env: resetting {config.env!r} failed: {one_line(error, site=True)}"
        ) from error
    else:
        return Problem(
            _stacked(env.observation_space, config.frame_stack),
            env.action_space,
            _longest_episode(env),
            env.has_wrapper_attr("action_masks"),
        )
    finally:
        env.close()


def _home_of(env: str) -> str | None:
    """Return the module that has to be imported for an id of a well-known package."""
    homes = (home for start, home in _HOMES.items() if env.startswith(start))
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
