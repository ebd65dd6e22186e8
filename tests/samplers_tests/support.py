from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import optuna
import stable_baselines3
from gymnasium.spaces import Box, Discrete, Space

from samplers import SEARCH_SPACES, Size, SpaceContext

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

ALGORITHMS = sorted(SEARCH_SPACES)
SIZES: tuple[Size, ...] = get_args(Size)

# The spaces of Pendulum-v1 and CartPole-v1.
BOX_ACTIONS = Box(-2.0, 2.0, (1,))
BOX_OBSERVATIONS = Box(-8.0, 8.0, (3,))
DISCRETE_ACTIONS = Discrete(2)
CARTPOLE_OBSERVATIONS = Box(-8.0, 8.0, (4,))


@dataclass(frozen=True)
class Draw:
    params: dict[str, Any]
    kwargs: dict[str, Any]
    attrs: dict[str, Any]
    distributions: dict[str, BaseDistribution]


def algorithm_class(algo: str) -> Any:
    return getattr(stable_baselines3, algo.upper())


def constructor_defaults(algo: str) -> dict[str, Any]:
    parameters = inspect.signature(algorithm_class(algo)).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


def make_context(
    algo: str,
    *,
    n_envs: int = 1,
    n_timesteps: int = 20_000,
    n_evaluations: int = 10,
    discrete: bool = False,
) -> SpaceContext:
    actions, observations = BOX_ACTIONS, BOX_OBSERVATIONS
    spaces: tuple[Space[Any], Space[Any]] = (actions, observations)
    if discrete or algo == "dqn":
        spaces = (DISCRETE_ACTIONS, CARTPOLE_OBSERVATIONS)
    return SpaceContext(
        n_envs=n_envs,
        n_timesteps=n_timesteps,
        n_evaluations=n_evaluations,
        action_space=spaces[0],
        observation_space=spaces[1],
    )


def draw(
    algo: str, context: SpaceContext | None, size: Size, n_points: int, seed: int = 0
) -> list[Draw]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    draws = []
    for _ in range(n_points):
        trial = study.ask()
        kwargs = SEARCH_SPACES[algo].sample(trial, context=context, size=size)
        draws.append(Draw(trial.params, kwargs, trial.user_attrs, trial.distributions))
    return draws


def vec_steps_per_rollout(algo: str, kwargs: dict[str, Any]) -> int:
    steps: int = kwargs["n_steps" if algo in ("a2c", "ppo") else "train_freq"]
    return steps


def updates_per_step(algo: str, kwargs: dict[str, Any], n_envs: int) -> float:
    rollout = vec_steps_per_rollout(algo, kwargs) * n_envs
    if algo == "a2c":
        return 1 / rollout
    if algo == "ppo":
        n_minibatches = -(-rollout // kwargs["batch_size"])
        return float(kwargs["n_epochs"] * n_minibatches / rollout)
    return float(kwargs["gradient_steps"] / rollout)
