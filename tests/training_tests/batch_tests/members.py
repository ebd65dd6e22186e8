"""Runs in a batch and the same runs by SB3 alone, made comparable."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecNormalize

from sb3_hpo.training.batch.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Weights = dict[str, torch.Tensor]
Contents = dict[str, np.ndarray]

TOLERANCE = 1e-3  # of the largest movement of a weight of the same part
NETS = {"net_arch": [16, 16]}
_PARTS = (
    "observations", "next_observations", "actions", "rewards", "dones", "timeouts",
    "episode_starts", "values", "log_probs", "advantages", "returns",
)  # fmt: skip


class PointEnv(gym.Env[Any, Any]):
    """A point in the plane that is pushed and pays for its distance from a goal; eight steps."""

    def __init__(self, action: str = "box", *, in_dict: bool = False) -> None:
        self.action_space = {
            "box": spaces.Box(-2, 2, (2,), dtype=np.float32),
            "discrete": spaces.Discrete(4),
            "multidiscrete": spaces.MultiDiscrete([3, 2]),
        }[action]
        point = spaces.Box(-10, 10, (2,), dtype=np.float32)
        self._in_dict = in_dict
        self.observation_space: gym.Space[Any] = (
            spaces.Dict({"position": point, "goal": point})
            if in_dict
            else spaces.Box(-10, 10, (4,), dtype=np.float32)
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._t = 0
        self._position, self._goal = self.np_random.uniform(-2, 2, (2, 2))
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._t += 1
        self._position = np.clip(self._position + 0.2 * self._push(action), -10, 10)
        reward = 1 - float(np.linalg.norm(self._position - self._goal))
        lost = bool(np.abs(self._position).max() > 3)
        return self._observation(), reward, lost, self._t == 8, {}

    def _push(self, action: Any) -> np.ndarray:
        if isinstance(self.action_space, spaces.Box):
            return np.asarray(action)
        if isinstance(self.action_space, spaces.Discrete):
            return np.array([[1, 0], [0, 1], [-1, 0], [0, -1]][int(action)])
        return np.asarray(action) - 1

    def _observation(self) -> Any:
        position, goal = (np.asarray(p, np.float32) for p in (self._position, self._goal))
        if self._in_dict:
            return {"position": position, "goal": goal}
        return np.concatenate([position, goal])


class TwoLayers(BaseFeaturesExtractor):
    """A user's features extractor."""

    def __init__(self, observation_space: gym.Space[Any], features_dim: int = 12) -> None:
        super().__init__(observation_space, features_dim)
        self.first = torch.nn.Linear(4, 8)
        self.norm = torch.nn.LayerNorm(8)
        self.second = torch.nn.Linear(8, features_dim)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.second(torch.relu(self.norm(self.first(observations))))
        return hidden


@dataclass(frozen=True, eq=False)
class Case:
    """Runs of one algorithm that differ in seeds and numbers.

    Attributes:
        algo: The class of the models.
        n_timesteps: Of each run.
        kwargs: What all models are built with.
        own: What each model is built with besides, one a member.
        action: Which actions `PointEnv` takes.
        in_dict: Whether it shows Dict observations.
        normalized: Whether `VecNormalize` is around it.
        policy: Of the models.
        n_envs: Environments of each run.
        make_env: In place of `PointEnv`.
    """

    algo: Any
    n_timesteps: int
    kwargs: dict[str, Any]
    own: tuple[dict[str, Any], ...]
    action: str = "box"
    in_dict: bool = False
    normalized: bool = False
    policy: str | type[Any] = "MlpPolicy"
    n_envs: int = 2
    make_env: Callable[[], gym.Env[Any, Any]] | None = None

    def members(self) -> range:
        return range(len(self.own))

    def with_own(self, member: int, **changes: Any) -> Case:
        """Return the case with one member built otherwise."""
        own = list(self.own)
        own[member] = own[member] | changes
        return replace(self, own=tuple(own))

    def make(self, member: int) -> Any:
        """Build a member's model, as `learn` takes it."""
        make = self.make_env or (lambda: PointEnv(self.action, in_dict=self.in_dict))
        venv: Any = make_vec_env(make, self.n_envs)
        gamma = (self.kwargs | self.own[member]).get("gamma", 0.99)
        venv = VecNormalize(venv, gamma=gamma, clip_obs=5.0) if self.normalized else venv
        kwargs = {"policy_kwargs": NETS, "device": "cpu", **self.kwargs, **self.own[member]}
        return self.algo(self.policy, venv, seed=100 + member, **_copies(kwargs))


@dataclass
class Run:
    """A run that has ended.

    Attributes:
        model: Its model.
        before: The weights it began with.
        first: What was in its buffer before its first update.
    """

    model: Any
    before: Weights
    first: Contents = field(default_factory=dict)


class Watch(BaseCallback):
    """Notes what is in the buffer before the first update."""

    def __init__(self) -> None:
        super().__init__()
        self.first: Contents = {}

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        starts = getattr(self.model, "learning_starts", -1)
        if not self.first and self.num_timesteps > starts:
            self.first = contents(self.model)


def alone(case: Case, member: int) -> Run:
    """Train a member by SB3 alone."""
    model, watch = case.make(member), Watch()
    run = Run(model, weights(model))
    model.learn(case.n_timesteps, watch)
    run.first = watch.first
    return run


def together(
    case: Case,
    callbacks: Sequence[BaseCallback] | None = None,
    *forgiven: type[Exception],
) -> list[Run]:
    """Train all members in a batch.

    Args:
        case: The case.
        callbacks: In place of those that note the buffers, one a member.
        *forgiven: What a member may raise, which ends it alone.

    Returns:
        The runs.
    """
    runs: dict[int, Run] = {}

    def body_of(member: int) -> Callable[[], None]:
        def body() -> None:
            model, watch = case.make(member), Watch()
            runs[member] = Run(model, weights(model))
            batch.join(model)
            with suppress(*forgiven):
                model.learn(case.n_timesteps, watch if callbacks is None else callbacks[member])
            runs[member].first = watch.first

        return body

    batch = Batch([body_of(member) for member in case.members()])
    batch.run()
    return [runs[member] for member in case.members()]


def weights(model: Any) -> Weights:
    """Return copies of all that a model learns, its target networks included."""
    found = {name: value.detach().clone() for name, value in model.policy.state_dict().items()}
    if getattr(model, "log_ent_coef", None) is not None:
        found["log_ent_coef"] = model.log_ent_coef.detach().clone()
    return found


def largest_difference(ours: Weights, theirs: Weights, before: Weights) -> float:
    """Return the largest difference of a weight over the largest movement within its part.

    Parts are as small as a network's layers: one that has hardly moved counts as any.
    """
    assert ours.keys() == theirs.keys() == before.keys()
    moved, apart = _largest_by_part(before, theirs), _largest_by_part(ours, theirs)
    assert max(moved.values()) > 0
    assert all(moved[part] > 0 for part, value in apart.items() if value > 0)
    return max(apart[part] / moved[part] for part in moved if moved[part] > 0)


def _largest_by_part(ours: Weights, theirs: Weights) -> dict[str, float]:
    largest: dict[str, float] = defaultdict(float)
    for name, value in theirs.items():
        part = name.rpartition(".")[0] or name
        largest[part] = max(largest[part], float((value - ours[name]).abs().max()))
    return largest


def n_gradient_steps(model: Any) -> int:
    """Return how often a model's most used optimizer has stepped."""
    parts: list[Any] = [getattr(model, name, None) for name in ("policy", "actor", "critic")]
    optimizers = [part.optimizer for part in parts if getattr(part, "optimizer", None)]
    return max(int(state["step"]) for item in optimizers for state in item.state.values())


def equal(ours: Weights, theirs: Weights) -> bool:
    """Return whether weights are equal bit by bit."""
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def contents(model: Any) -> Contents:
    """Return copies of what is in a model's buffer."""
    on_policy = isinstance(model, OnPolicyAlgorithm)
    buffer = model.rollout_buffer if on_policy else model.replay_buffer
    n_steps = buffer.buffer_size if on_policy or buffer.full else buffer.pos
    found: Contents = {}
    for name in _PARTS:
        value = getattr(buffer, name, None)
        parts = value if isinstance(value, dict) else {} if value is None else {"": value}
        found |= {f"{name}/{key}": part[:n_steps].copy() for key, part in parts.items()}
    return found


def _copies(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return copies: SB3 adds to the dicts it is given."""
    return {
        key: dict(value) if isinstance(value, dict) else value for key, value in kwargs.items()
    }
