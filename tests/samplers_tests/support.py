from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import gymnasium as gym
import numpy as np
import optuna
from gymnasium.spaces import Box, Dict, Discrete, Space

from samplers import SEARCH_SPACES, Size, SpaceContext
from sb3_hpo.algorithms.registry import ALGORITHMS as TABLE
from sb3_hpo.utils.import_strings import load_reference

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

ALGORITHMS = sorted(SEARCH_SPACES)
SIZES: tuple[Size, ...] = get_args(Size)
DISCRETE_ONLY = [algo for algo in ALGORITHMS if "Box" not in TABLE[algo].action_spaces]
CONTINUOUS_ONLY = [algo for algo in ALGORITHMS if TABLE[algo].action_spaces == ("Box",)]
ON_POLICY = ["a2c", "maskable_ppo", "ppo", "recurrent_ppo", "trpo"]
OFF_POLICY = [algo for algo in ALGORITHMS if algo not in (*ON_POLICY, "ars")]
HER = [algo for algo in ALGORITHMS if TABLE[algo].supports_her]

# Kinds of problems: by the actions, by the observations, and goals relabelled in hindsight.
PROBLEMS = [
    *((algo, "box") for algo in ALGORITHMS if algo not in DISCRETE_ONLY),
    *((algo, "discrete") for algo in ALGORITHMS if algo not in CONTINUOUS_ONLY),
    *((algo, kind) for algo in ALGORITHMS for kind in ("dict", "image")),
    *((algo, "goal") for algo in HER),
]

# The spaces of Pendulum-v1 and CartPole-v1.
BOX_ACTIONS = Box(-2.0, 2.0, (1,))
BOX_OBSERVATIONS = Box(-8.0, 8.0, (3,))
DISCRETE_ACTIONS = Discrete(2)
CARTPOLE_OBSERVATIONS = Box(-8.0, 8.0, (4,))

_GOALS: dict[str, Space[Any]] = {
    name: Box(0.0, 1.0, (4,)) for name in ("observation", "achieved_goal", "desired_goal")
}
_OBSERVATIONS: dict[str, Space[Any]] = {
    "box": BOX_OBSERVATIONS,
    "discrete": CARTPOLE_OBSERVATIONS,
    "dict": Dict({"position": BOX_OBSERVATIONS, "speed": CARTPOLE_OBSERVATIONS}),
    "image": Box(0, 255, (64, 64, 3), np.uint8),
    "goal": Dict(_GOALS),
}
LONGEST_EPISODE = 4  # of make_context, where an episode's length matters

# Four times the updates per environment step of SB3's defaults at one environment.
MOST_UPDATES = {
    "a2c": 4 / 5,
    "crossq": 4,
    "ddpg": 4,
    "dqn": 4 / 4,
    "maskable_ppo": 4 * 10 / 64,
    "ppo": 4 * 10 / 64,
    "qrdqn": 4 / 4,
    "recurrent_ppo": 4 * 10 / 128,
    "sac": 4,
    "td3": 4,
    "tqc": 4,
    "trpo": 4 * 10 / 128,
}


@dataclass(frozen=True)
class Draw:
    params: dict[str, Any]
    kwargs: dict[str, Any]
    attrs: dict[str, Any]
    distributions: dict[str, BaseDistribution]


class MaskedEnv(gym.Env[Any, Any]):
    """Ten steps; an action is valid unless it is the one taken before."""

    observation_space = Box(0.0, 1.0, (3,))
    action_space = Discrete(3)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._step, self._last = 0, 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action != self._last
        self._step, self._last = self._step + 1, int(action)
        return self._observe(), float(action == 2), self._step == 10, False, {}

    def action_masks(self) -> Any:
        return np.arange(3) != self._last

    def _observe(self) -> Any:
        return np.eye(3, dtype=np.float32)[self._last]


def algorithm_class(algo: str) -> Any:
    return load_reference(TABLE[algo].reference)


def constructor_defaults(algo: str) -> dict[str, Any]:
    parameters = inspect.signature(algorithm_class(algo)).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


def has_discrete_actions(algo: str, kind: str) -> bool:
    if kind in ("box", "discrete"):
        return kind == "discrete"
    return algo not in CONTINUOUS_ONLY


def make_context(
    algo: str,
    *,
    kind: str | None = None,
    n_envs: int = 1,
    n_timesteps: int = 20_000,
    n_evaluations: int = 10,
) -> SpaceContext:
    kind = kind or ("discrete" if algo in DISCRETE_ONLY else "box")
    goal = kind == "goal"
    return SpaceContext(
        n_envs=n_envs,
        n_timesteps=n_timesteps,
        n_evaluations=n_evaluations,
        action_space=DISCRETE_ACTIONS if has_discrete_actions(algo, kind) else BOX_ACTIONS,
        observation_space=_OBSERVATIONS[kind],
        goal_env=goal,
        her=goal,
        longest_episode=LONGEST_EPISODE if goal or algo == "ars" else None,
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


def vec_steps_per_rollout(algo: str, kwargs: dict[str, Any], episode: int = 1) -> int:
    """Return the steps of a rollout; ARS plays whole episodes instead."""
    if algo == "ars":
        return int(2 * kwargs["n_delta"] * episode)
    steps: int = kwargs["n_steps" if algo in ON_POLICY else "train_freq"]
    return steps


def updates_per_step(algo: str, kwargs: dict[str, Any], n_envs: int) -> float:
    rollout = vec_steps_per_rollout(algo, kwargs) * n_envs
    if algo in ("a2c", "ars"):
        return 1 / rollout
    if algo in ON_POLICY:
        n_minibatches = -(-rollout // kwargs["batch_size"])
        n_passes = kwargs["n_critic_updates" if algo == "trpo" else "n_epochs"]
        return float(n_passes * n_minibatches / rollout)
    return float(kwargs["gradient_steps"] / rollout)
